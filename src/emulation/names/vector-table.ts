/**
 * Names of MMX, SSE, AVX, BMI and AES instructions. Four columns separated by `|`: no prefix, 66, F3, F2. A name that
 * begins with `~` has a VEX form with a `v` before it, and shows its `H` operand only there; `!` marks what exists
 * in VEX and EVEX encodings only. Operands: `V` register, `W` r/m, `H` VEX.vvvv, `U` r/m that is a register, `X` the
 * register in immediate bits 7:4, each as wide as the vector; `Vo`, `Wo` and so on always 16 bytes; `P`, `Q`, `N` MMX;
 * `B` VEX.vvvv as a general register; `K` opmask registers; general operands as in the integer table.
 */

function rows(text: string): string[] {
  return text.trim().split(/\s*\n\s*/);
}

/** MMX forms with their SSE2 and AVX brothers: the same name, other registers. */
const MMX_AND_SSE: Readonly<Record<string, string>> = {
  "60": "punpcklbw",
  "61": "punpcklwd",
  "62": "punpckldq",
  "63": "packsswb",
  "64": "pcmpgtb",
  "65": "pcmpgtw",
  "66": "pcmpgtd",
  "67": "packuswb",
  "68": "punpckhbw",
  "69": "punpckhwd",
  "6a": "punpckhdq",
  "6b": "packssdw",
  "74": "pcmpeqb",
  "75": "pcmpeqw",
  "76": "pcmpeqd",
  d1: "psrlw",
  d2: "psrld",
  d3: "psrlq",
  d4: "paddq",
  d5: "pmullw",
  d8: "psubusb",
  d9: "psubusw",
  da: "pminub",
  db: "pand",
  dc: "paddusb",
  dd: "paddusw",
  de: "pmaxub",
  df: "pandn",
  e0: "pavgb",
  e1: "psraw",
  e2: "psrad",
  e3: "pavgw",
  e4: "pmulhuw",
  e5: "pmulhw",
  e8: "psubsb",
  e9: "psubsw",
  ea: "pminsw",
  eb: "por",
  ec: "paddsb",
  ed: "paddsw",
  ee: "pmaxsw",
  ef: "pxor",
  f1: "psllw",
  f2: "pslld",
  f3: "psllq",
  f4: "pmuludq",
  f5: "pmaddwd",
  f6: "psadbw",
  f8: "psubb",
  f9: "psubw",
  fa: "psubd",
  fb: "psubq",
  fc: "paddb",
  fd: "paddw",
  fe: "paddd",
};

/** Arithmetic in its four forms: ps, pd, ss, sd. */
const ARITHMETIC: Readonly<Record<string, string>> = {
  "58": "add",
  "59": "mul",
  "5c": "sub",
  "5d": "min",
  "5e": "div",
  "5f": "max",
};

export const VECTOR_0F_NAMES: readonly string[] = [
  ...Object.entries(MMX_AND_SSE).map(([opcode, name]) => `${opcode} ${name} P,Q|~${name} V,H,W`),
  ...Object.entries(ARITHMETIC).map(
    ([opcode, name]) => `${opcode} ~${name}ps V,H,W|~${name}pd V,H,W|~${name}ss Vo,Ho,Wo|~${name}sd Vo,Ho,Wo`,
  ),
  ...rows(`
    10 ~movups V,W|~movupd V,W|~movss Vo,Wo|~movsd Vo,Wo
    11 ~movups W,V|~movupd W,V|~movss Wo,Vo|~movsd Wo,Vo
    12 ~movlps Vo,Ho,M|~movlpd Vo,Ho,M|~movsldup V,W|~movddup V,W
    13 ~movlps M,Vo|~movlpd M,Vo
    14 ~unpcklps V,H,W|~unpcklpd V,H,W
    15 ~unpckhps V,H,W|~unpckhpd V,H,W
    16 ~movhps Vo,Ho,M|~movhpd Vo,Ho,M|~movshdup V,W
    17 ~movhps M,Vo|~movhpd M,Vo
    28 ~movaps V,W|~movapd V,W
    29 ~movaps W,V|~movapd W,V
    2a cvtpi2ps Vo,Q|cvtpi2pd Vo,Q|~cvtsi2ss Vo,Ho,Ey|~cvtsi2sd Vo,Ho,Ey
    2b ~movntps M,V|~movntpd M,V
    2c cvttps2pi P,Wo|cvttpd2pi P,Wo|~cvttss2si Gy,Wo|~cvttsd2si Gy,Wo
    2d cvtps2pi P,Wo|cvtpd2pi P,Wo|~cvtss2si Gy,Wo|~cvtsd2si Gy,Wo
    2e ~ucomiss Vo,Wo|~ucomisd Vo,Wo
    2f ~comiss Vo,Wo|~comisd Vo,Wo
    50 ~movmskps Gd,U|~movmskpd Gd,U
    51 ~sqrtps V,W|~sqrtpd V,W|~sqrtss Vo,Ho,Wo|~sqrtsd Vo,Ho,Wo
    52 ~rsqrtps V,W||~rsqrtss Vo,Ho,Wo
    53 ~rcpps V,W||~rcpss Vo,Ho,Wo
    54 ~andps V,H,W|~andpd V,H,W
    55 ~andnps V,H,W|~andnpd V,H,W
    56 ~orps V,H,W|~orpd V,H,W
    57 ~xorps V,H,W|~xorpd V,H,W
    5a ~cvtps2pd V,Wo|~cvtpd2ps Vo,W|~cvtss2sd Vo,Ho,Wo|~cvtsd2ss Vo,Ho,Wo
    5b ~cvtdq2ps V,W|~cvtps2dq V,W|~cvttps2dq V,W
    6c -|~punpcklqdq V,H,W
    6d -|~punpckhqdq V,H,W
    6e movd P,Ey|~movd Vo,Ey
    6f movq P,Q|~movdqa V,W|~movdqu V,W|!movdqu V,W
    70 pshufw P,Q,Ib|~pshufd V,W,Ib|~pshufhw V,W,Ib|~pshuflw V,W,Ib
    77 emms
    7c -|~haddpd V,H,W||~haddps V,H,W
    7d -|~hsubpd V,H,W||~hsubps V,H,W
    7e movd Ey,P|~movd Ey,Vo|~movq Vo,Wo
    7f movq Q,P|~movdqa W,V|~movdqu W,V|!movdqu W,V
    c2 ~cmpps V,H,W,Ib|~cmppd V,H,W,Ib|~cmpss Vo,Ho,Wo,Ib|~cmpsd Vo,Ho,Wo,Ib
    c4 pinsrw P,Ed,Ib|~pinsrw Vo,Ho,Ed,Ib
    c5 pextrw Gd,N,Ib|~pextrw Gd,U,Ib
    c6 ~shufps V,H,W,Ib|~shufpd V,H,W,Ib
    d0 -|~addsubpd V,H,W||~addsubps V,H,W
    d6 -|~movq Wo,Vo|movq2dq Vo,N|movdq2q P,U
    d7 pmovmskb Gd,N|~pmovmskb Gd,U
    e6 -|~cvttpd2dq Vo,W|~cvtdq2pd V,Wo|~cvtpd2dq Vo,W
    e7 movntq M,P|~movntdq M,V
    f0 -|||~lddqu V,M
    f7 maskmovq P,N|~maskmovdqu Vo,U`),
];

/** AVX-512 opmask instructions: in VEX what CMOVcc, SETcc and Jcc are without. */
export const OPMASK_0F_NAMES: readonly string[] = rows(`
    41 !kand KV,KH,KW|!kand KV,KH,KW
    42 !kandn KV,KH,KW|!kandn KV,KH,KW
    44 !knot KV,KW|!knot KV,KW
    45 !kor KV,KH,KW|!kor KV,KH,KW
    46 !kxnor KV,KH,KW|!kxnor KV,KH,KW
    47 !kxor KV,KH,KW|!kxor KV,KH,KW
    4a !kadd KV,KH,KW|!kadd KV,KH,KW
    4b !kunpck KV,KH,KW|!kunpck KV,KH,KW
    90 !kmov KV,KW|!kmov KV,KW
    91 !kmov KW,KV|!kmov KW,KV
    92 !kmov KV,Ed|!kmov KV,Ed||!kmov KV,Ey
    93 !kmov Gd,KW|!kmov Gd,KW||!kmov Gy,KW
    98 !kortest KV,KW|!kortest KV,KW
    99 !ktest KV,KW|!ktest KV,KW`);

const SSSE3_MMX: Readonly<Record<string, string>> = {
  "00": "pshufb",
  "01": "phaddw",
  "02": "phaddd",
  "03": "phaddsw",
  "04": "pmaddubsw",
  "05": "phsubw",
  "06": "phsubd",
  "07": "phsubsw",
  "08": "psignb",
  "09": "psignw",
  "0a": "psignd",
  "0b": "pmulhrsw",
};

/** Fused multiply-add: the opcode's upper digit is the operand order, the lower one the operation. */
function fusedMultiplyAdd(): string[] {
  const operations = [
    "fmaddsub",
    "fmsubadd",
    "fmadd",
    "fmadd",
    "fmsub",
    "fmsub",
    "fnmadd",
    "fnmadd",
    "fnmsub",
    "fnmsub",
  ];
  return [
    ["9", "132"],
    ["a", "213"],
    ["b", "231"],
  ].flatMap(([digit, order]) =>
    operations.map((operation, index) => {
      const scalar = index > 2 && index % 2 === 1;
      const type = scalar ? "ss/sd" : "ps/pd";
      return `${digit}${(index + 6).toString(16)} -|!v${operation}${order}${type} ${scalar ? "Vo,Ho,Wo" : "V,H,W"}`;
    }),
  );
}

export const VECTOR_0F38_NAMES: readonly string[] = [
  ...Object.entries(SSSE3_MMX).map(([opcode, name]) => `${opcode} ${name} P,Q|~${name} V,H,W`),
  ...fusedMultiplyAdd(),
  ...rows(`
    0c -|!vpermilps V,H,W
    0d -|!vpermilpd V,H,W
    0e -|!vtestps V,W
    0f -|!vtestpd V,W
    10 -|pblendvb Vo,Wo
    13 -|!vcvtph2ps V,Wo
    14 -|blendvps Vo,Wo
    15 -|blendvpd Vo,Wo
    16 -|!vpermps V,H,W
    17 -|~ptest V,W
    18 -|!vbroadcastss V,Wo
    19 -|!vbroadcastsd V,Wo
    1a -|!vbroadcastf128 V,M
    1c pabsb P,Q|~pabsb V,W
    1d pabsw P,Q|~pabsw V,W
    1e pabsd P,Q|~pabsd V,W
    20 -|~pmovsxbw V,Wo
    21 -|~pmovsxbd V,Wo
    22 -|~pmovsxbq V,Wo
    23 -|~pmovsxwd V,Wo
    24 -|~pmovsxwq V,Wo
    25 -|~pmovsxdq V,Wo
    26 -|!vptestmb/vptestmw KV,H,W|!vptestnmb/vptestnmw KV,H,W
    27 -|!vptestmd/vptestmq KV,H,W|!vptestnmd/vptestnmq KV,H,W
    28 -|~pmuldq V,H,W
    29 -|~pcmpeqq V,H,W
    2a -|~movntdqa V,M
    2b -|~packusdw V,H,W
    2c -|!vmaskmovps V,H,M
    2d -|!vmaskmovpd V,H,M
    2e -|!vmaskmovps M,H,V
    2f -|!vmaskmovpd M,H,V
    30 -|~pmovzxbw V,Wo
    31 -|~pmovzxbd V,Wo
    32 -|~pmovzxbq V,Wo
    33 -|~pmovzxwd V,Wo
    34 -|~pmovzxwq V,Wo
    35 -|~pmovzxdq V,Wo
    36 -|!vpermd V,H,W
    37 -|~pcmpgtq V,H,W
    38 -|~pminsb V,H,W
    39 -|~pminsd V,H,W
    3a -|~pminuw V,H,W
    3b -|~pminud V,H,W
    3c -|~pmaxsb V,H,W
    3d -|~pmaxsd V,H,W
    3e -|~pmaxuw V,H,W
    3f -|~pmaxud V,H,W
    40 -|~pmulld V,H,W
    41 -|~phminposuw Vo,Wo
    45 -|!vpsrlvd/vpsrlvq V,H,W
    46 -|!vpsravd/vpsravq V,H,W
    47 -|!vpsllvd/vpsllvq V,H,W
    58 -|!vpbroadcastd V,Wo
    59 -|!vpbroadcastq V,Wo
    5a -|!vbroadcasti128 V,M
    78 -|!vpbroadcastb V,Wo
    79 -|!vpbroadcastw V,Wo
    80 -|invept Gn,M
    81 -|invvpid Gn,M
    82 -|invpcid Gn,M
    8c -|!vpmaskmovd/vpmaskmovq V,H,M
    8e -|!vpmaskmovd/vpmaskmovq M,H,V
    90 -|!vpgatherdd/vpgatherdq V,M,H
    91 -|!vpgatherqd/vpgatherqq V,M,H
    92 -|!vgatherdps/vgatherdpd V,M,H
    93 -|!vgatherqps/vgatherqpd V,M,H
    c8 sha1nexte Vo,Wo
    c9 sha1msg1 Vo,Wo
    ca sha1msg2 Vo,Wo
    cb sha256rnds2 Vo,Wo
    cc sha256msg1 Vo,Wo
    cd sha256msg2 Vo,Wo
    cf -|~gf2p8mulb V,H,W
    db -|~aesimc Vo,Wo
    dc -|~aesenc V,H,W
    dd -|~aesenclast V,H,W
    de -|~aesdec V,H,W
    df -|~aesdeclast V,H,W
    f0 movbe Gv,M|movbe Gv,M||crc32 Gd,Eb
    f1 movbe M,Gv|movbe M,Gv||crc32 Gd,Ev
    f2 !andn Gy,By,Ey
    f5 !bzhi Gy,Ey,By||!pext Gy,By,Ey|!pdep Gy,By,Ey
    f6 wrss M,Gy|adcx Gy,Ey|adox Gy,Ey|!mulx Gy,By,Ey
    f7 !bextr Gy,Ey,By|!shlx Gy,Ey,By|!sarx Gy,Ey,By|!shrx Gy,Ey,By
    f8 -|movdir64b Gn,M|enqcmds Gn,M|enqcmd Gn,M
    f9 movdiri M,Gy`),
];

export const VECTOR_0F3A_NAMES: readonly string[] = rows(`
    00 -|!vpermq V,W,Ib
    01 -|!vpermpd V,W,Ib
    02 -|!vpblendd V,H,W,Ib
    04 -|!vpermilps V,W,Ib
    05 -|!vpermilpd V,W,Ib
    06 -|!vperm2f128 V,H,W,Ib
    08 -|~roundps V,W,Ib
    09 -|~roundpd V,W,Ib
    0a -|~roundss Vo,Ho,Wo,Ib
    0b -|~roundsd Vo,Ho,Wo,Ib
    0c -|~blendps V,H,W,Ib
    0d -|~blendpd V,H,W,Ib
    0e -|~pblendw V,H,W,Ib
    0f palignr P,Q,Ib|~palignr V,H,W,Ib
    14 -|~pextrb Ed,Vo,Ib
    15 -|~pextrw Ed,Vo,Ib
    16 -|~pextrd Ey,Vo,Ib
    17 -|~extractps Ed,Vo,Ib
    18 -|!vinsertf128 V,H,Wo,Ib
    19 -|!vextractf128 Wo,V,Ib
    1d -|!vcvtps2ph Wo,V,Ib
    1e -|!vpcmpud/vpcmpuq KV,H,W,Ib
    1f -|!vpcmpd/vpcmpq KV,H,W,Ib
    20 -|~pinsrb Vo,Ho,Ed,Ib
    21 -|~insertps Vo,Ho,Wo,Ib
    22 -|~pinsrd Vo,Ho,Ey,Ib
    25 -|!vpternlogd/vpternlogq V,H,W,Ib
    38 -|!vinserti128 V,H,Wo,Ib
    39 -|!vextracti128 Wo,V,Ib
    3e -|!vpcmpub/vpcmpuw KV,H,W,Ib
    3f -|!vpcmpb/vpcmpw KV,H,W,Ib
    40 -|~dpps V,H,W,Ib
    41 -|~dppd Vo,Ho,Wo,Ib
    42 -|~mpsadbw V,H,W,Ib
    44 -|~pclmulqdq V,H,W,Ib
    46 -|!vperm2i128 V,H,W,Ib
    4a -|!vblendvps V,H,W,X
    4b -|!vblendvpd V,H,W,X
    4c -|!vpblendvb V,H,W,X
    60 -|~pcmpestrm Vo,Wo,Ib
    61 -|~pcmpestri Vo,Wo,Ib
    62 -|~pcmpistrm Vo,Wo,Ib
    63 -|~pcmpistri Vo,Wo,Ib
    cc sha1rnds4 Vo,Wo,Ib
    ce -|~gf2p8affineqb V,H,W,Ib
    cf -|~gf2p8affineinvqb V,H,W,Ib
    df -|~aeskeygenassist Vo,Wo,Ib
    f0 -|||!rorx Gy,Ey,Ib`);
