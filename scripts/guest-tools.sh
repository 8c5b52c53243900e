# Shared by the scripts that build the bundled guest. Sourced, not run.

# need_packages COMMAND:PACKAGE… — installs what is missing when it may, says what to type when it may not.
# A path in place of COMMAND is checked for as a file.
need_packages() {
  local pair missing=()
  for pair in "$@"; do
    case ${pair%%:*} in
      /*) [[ -e ${pair%%:*} ]] || missing+=("${pair#*:}") ;;
      *) command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}") ;;
    esac
  done
  ((${#missing[@]})) || return 0
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "installing what the build needs: ${missing[*]}" >&2
    apt-get install -y --no-install-recommends "${missing[@]}" >&2
  else
    echo "missing on this machine. On Debian, type:" >&2
    echo "  sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
}

# package_files PACKAGE DIRECTORY — unpacks a Debian package into a directory, without being root.
package_files() {
  local package=$1 into=$2
  mkdir -p "$into" "$into.download"
  # As whoever we are: apt's own user cannot write there, and says so each time.
  (cd "$into.download" && apt-get download -qq -o APT::Sandbox::User=root "$package" >&2)
  dpkg-deb -x "$into.download"/*.deb "$into"
  dpkg-deb -f "$into.download"/*.deb Version >"$into/.version"
  rm -rf "$into.download"
}
