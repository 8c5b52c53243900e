# Makes Debian root file systems with mmdebstrap, from the package sources of this machine. Sourced, not run;
# needs guest-tools.sh sourced before it.
#
#   debian_suite                                     prints the suite that this machine takes its packages from
#   debian_root SUITE OUTPUT [MMDEBSTRAP OPTION…]    makes a root file system
#   debian_kernel FLAVOUR                            prints the name of the package with the newest such kernel
#
# Examples:
#   debian_root "" root.tar --variant=minbase --include=nodejs,qemu-system-x86
#   debian_root trixie root.tar --variant=extract --include=busybox-static
#
# The packages come from where apt on this machine takes Debian's: same mirrors, same keys, same proxy, same
# credentials. On a machine that is not Debian mmdebstrap's own defaults hold.

# debian_source_entries: one line for each entry of apt's configuration that offers Debian: FILE:NUMBER SUITE.
debian_source_entries() {
  command -v apt-get >/dev/null || return 0
  local format='$(ORIGIN)|$(CREATED_BY)|$(SOURCESENTRY)|$(RELEASE)'
  list() { apt-get indextargets --format "$format" 2>/dev/null | sed -n 's/^Debian|Packages|\(.*\)|\(.*\)$/\1 \2/p' | sort -u; }
  local entries
  entries=$(list)
  # Without package lists apt does not know whose sources these are.
  if [[ -z $entries && $(id -u) == 0 ]]; then
    apt-get update -q >&2
    entries=$(list)
  fi
  echo "$entries"
}

debian_suite() {
  local suites
  suites=$(debian_source_entries | sed 's/.* //')
  # The system's own suite when its sources have it; else the first one that others (-updates, -security) build on.
  local own
  own=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null || true)
  if [[ -n $own ]] && grep -qx "$own" <<<"$suites"; then
    echo "$own"
  else
    { grep -v -e - -e '^$' <<<"$suites" || echo stable; } | head -n 1
  fi
}

# debian_sources SUITE DIRECTORY: writes this machine's Debian sources, moved to that suite, into DIRECTORY/one-line
# and DIRECTORY/deb822, as far as there are any.
debian_sources() {
  local suite=$1 into=$2 own entry file number
  own=$(debian_suite)
  debian_source_entries | cut -d ' ' -f 1 | sort -u | while read -r entry; do
    file=${entry%:*} number=${entry##*:}
    if [[ $file == *.sources ]]; then
      # The number counts paragraphs.
      awk -v RS= -v n="$number" 'NR == n { print $0 "\n" }' "$file" |
        sed -E '/^#/d; s/^(Types:).*/\1 deb/' >>"$into/deb822"
    else
      # The number counts lines.
      sed -n "${number}p" "$file" | grep '^deb ' >>"$into/one-line"
    fi
  done
  [[ $suite != "$own" ]] || return 0
  local list
  for list in "$into"/*; do
    [[ -f $list ]] || continue
    sed -i -E "s/(^|[ /])$own\b/\1$suite/g" "$list"
    [[ $suite == sid || $suite == unstable ]] || continue
    # There are neither updates nor security updates of unstable.
    sed -i -E "/^Suites:/s/ $suite-[a-z-]+//g; /^deb .*$suite-/d" "$list"
    awk -v RS= -v ORS='\n\n' '!/\nSuites: *\n/' "$list" >"$list.left"
    mv "$list.left" "$list"
  done
}

# debian_acquire_settings: how apt on this machine downloads (proxies, time-outs, credentials), as a configuration file.
debian_acquire_settings() {
  command -v apt-config >/dev/null || return 0
  apt-config dump Acquire | grep -v -E '^Acquire::(IndexTargets|Changelogs|CompressionTypes|Languages|cdrom)\b'
  echo 'Acquire::Languages "none";'
  local file=/etc/apt/auth.conf parts=/etc/apt/auth.conf.d
  [[ ! -r $file ]] || echo "Dir::Etc::netrc \"$file\";"
  [[ ! -r $parts ]] || echo "Dir::Etc::netrcparts \"$parts\";"
}

# debian_root SUITE OUTPUT [MMDEBSTRAP OPTION…]
# SUITE may be empty: this machine's. OUTPUT's name says what it becomes: a directory, or a .tar, .squashfs or .ext2 file.
# Someone who is not root wants a .tar: a directory would belong to subordinate user ids.
# Of this machine, the result keeps the package sources (without passwords in their addresses), but no other setting, no
# host name and no name servers. The caller's hooks come after that is cleared.
# With SOURCE_DATE_EPOCH set, the same packages give the same bytes.
debian_root() (
  set -euo pipefail
  suite=${1:-$(debian_suite)} output=$2
  shift 2
  need_packages mmdebstrap:mmdebstrap
  session=(setsid) ends_it="TERM KILL"
  if [[ $(id -u) == 0 ]]; then
    mode=root
    # What it mounts, and what it starts, ends with it in any case.
    namespaces=(unshare --mount --pid --fork --mount-proc --kill-child)
    ! "${namespaces[@]}" true 2>/dev/null || session+=("${namespaces[@]}") ends_it=KILL
  elif need_packages newuidmap:uidmap && unshare --user true 2>/dev/null && grep -q "^$(id -un):" /etc/subuid 2>/dev/null; then
    # User namespaces run the packages' scripts as they expect.
    mode=unshare
  else
    need_packages fakechroot:fakechroot fakeroot:fakeroot
    mode=fakechroot
  fi

  scratch=$(mktemp -d)
  partial=$(dirname "$output")/.$$.$(basename "$output")
  # An interrupted one leaves a tree, in which subordinate user ids may own the files.
  clean_up() {
    [[ $mode != unshare ]] || mmdebstrap --unshare-helper find "$scratch/tmp" -mindepth 2 -delete >/dev/null 2>&1 || true
    rm -rf "$scratch" "$partial"
  }
  trap clean_up EXIT
  mkdir "$scratch/sources"
  debian_sources "$suite" "$scratch/sources"
  debian_acquire_settings >"$scratch/apt.conf"
  settings=()
  [[ ! -s $scratch/apt.conf ]] || settings=(--aptopt="$scratch/apt.conf")
  # Other user ids read it: the user namespace's root, and apt's own.
  chmod 0711 "$scratch"
  chmod 0644 "$scratch/apt.conf"

  echo "making a Debian $suite root file system" >&2
  hook=customize-hook
  [[ " $* " != *" --variant=extract "* ]] || hook=extract-hook
  mkdir "$scratch/tmp"
  chmod 0711 "$scratch/tmp"
  # In a session of its own, so that all of it can be ended: at a signal, and when the script that has called us is gone.
  TMPDIR=$scratch/tmp "${session[@]}" mmdebstrap --logfile="$scratch/log" --mode="$mode" "${settings[@]}" \
    --$hook='cd "$1/etc" && rm -f apt/apt.conf.d/99mmdebstrap hostname resolv.conf' \
    --$hook='find "$1/etc/apt" -name "*.list" -o -name "*.sources" | xargs -r sed -i -E "s#://[^/@ ]+@#://#g"' \
    "$@" "$suite" "$partial" $(find "$scratch/sources" -type f) 2>>"$scratch/log" &
  work=$!
  # A parent that has gone shows as another parent.
  own=/proc/$BASHPID/status
  parent=$(grep '^PPid:' "$own")
  while grep -qx "$parent" "$own"; do sleep 1; done >/dev/null 2>&1 &
  caller_gone=$!
  trap : INT TERM HUP
  status=0
  wait -n "$work" "$caller_gone" || status=$?
  kill "$caller_gone" 2>/dev/null || true
  if kill -0 "$work" 2>/dev/null; then
    disown "$work" # no report of its death
    for signal in $ends_it; do
      kill -$signal -- "-$work" 2>/dev/null || true
      for ((tenths = 0; tenths < 50; tenths++)); do
        kill -0 -- "-$work" 2>/dev/null || break 2
        sleep 0.1
      done
    done
    exit 143
  fi
  ((status == 0)) || {
    grep -v '^I: ' "$scratch/log" | tail -n 40 >&2
    exit 1
  }
  mv -T "$partial" "$output"
)

# debian_kernel FLAVOUR: cloud-amd64, amd64, … The package that linux-image-FLAVOUR stands for on this machine.
debian_kernel() {
  local package
  package=$(apt-cache depends --important "linux-image-$1" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1) || true
  [[ -n $package ]] || {
    echo "no package linux-image-$1 among this machine's Debian sources; is \`apt-get update\` due, or the name wrong?" >&2
    return 1
  }
  echo "$package"
}
