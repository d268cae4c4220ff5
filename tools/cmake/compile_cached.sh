#!/bin/sh
# compile_cached.sh TREE COMMAND...: the compiler behind ccache.
#
# A precompiled header is a hundred megabytes, and ccache would read the whole of it for each file
# that is compiled with it: it reads a checksum of it that is made once.
tree="$1"
shift
# pch_defines, time_macros: ccache refuses precompiled headers without them. BASEDIR, NOHASHDIR:
# clones of the tree in other folders share what one of them has compiled. DEPEND: no preprocessing
# for the cache's sake, which a build from nothing pays for each file.
export CCACHE_DEPEND=1 CCACHE_NOHASHDIR=1 CCACHE_PCH_EXTSUM=1
export CCACHE_BASEDIR="$tree"
export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime

previous=''
output=''
for argument in "$@"; do
  [ "$previous" != -o ] || output="$argument"
  previous="$argument"
done
case "$output" in
  *.gch | *.pch)
    rm -f "$output" "$output.sum" # else the compiler would take the old one for its own input
    ccache "$@" || exit
    sha256sum <"$output" >"$output.sum"
    ;;
  *) exec ccache "$@" ;;
esac
