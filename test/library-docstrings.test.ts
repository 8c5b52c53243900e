/** Everything that the library exports says what it is. */
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { ROOT } from "./support/paths.ts";

test("every export has a docstring, and so has every public member of Machine", () => {
  const entry = join(ROOT, "src/index.ts");
  const config = ts.readConfigFile(join(ROOT, "tsconfig.json"), ts.sys.readFile.bind(ts.sys));
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, ROOT);
  const program = ts.createProgram([entry], options);
  const checker = program.getTypeChecker();
  const documented = (symbol: ts.Symbol): boolean => symbol.getDocumentationComment(checker).length > 0;
  const resolved = (symbol: ts.Symbol): ts.Symbol =>
    (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol);

  const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!;
  const exported = checker.getExportsOfModule(module);
  expect(exported.length).toBeGreaterThan(30);
  expect(exported.filter((symbol) => !documented(resolved(symbol))).map(({ name }) => name)).toEqual([]);

  const machine = resolved(exported.find(({ name }) => name === "Machine")!);
  const members = [...machine.members!.values()].filter(
    ({ declarations = [] }) =>
      !declarations.some(
        (declaration) => ts.isConstructorDeclaration(declaration) || isPrivate(declaration),
      ) && declarations.some((declaration) => declaration.getSourceFile().fileName.endsWith("machine.ts")),
  );
  expect(members.length).toBeGreaterThan(30);
  expect(members.filter((symbol) => !documented(symbol)).map(({ name }) => name)).toEqual([]);
});

function isPrivate(declaration: ts.Declaration): boolean {
  const name = ts.getNameOfDeclaration(declaration);
  return name !== undefined && ts.isPrivateIdentifier(name);
}
