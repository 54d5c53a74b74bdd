#!/usr/bin/env bash
# What a newcomer does: clone the last commit, have an empty home and no settings, type the README's commands.
# Usage: tools/fresh.sh [run] [test]
set -euo pipefail

port=${PORT:-8765}
dir=$(mktemp -d)
server=
leave() {
  if [ -n "$server" ]; then kill -TERM -- "-$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$dir"
}
trap leave EXIT

git clone --quiet "$(git rev-parse --show-toplevel)" "$dir/sojourn"
mkdir "$dir/home"
for settings in .npmrc .config/pip; do # which registries a site uses is the one thing a newcomer brings along
  if [ -e "$HOME/$settings" ]; then
    mkdir -p "$(dirname "$dir/home/$settings")"
    cp -r "$HOME/$settings" "$dir/home/$settings"
  fi
done
cd "$dir/sojourn"

# Words, not a function: what is started by a function in the background ends before the make that it waits for.
newcomer=(env -u VIRTUAL_ENV -u PYTHONPATH -u PYTHONHOME -u MAKEFLAGS -u MAKELEVEL HOME="$dir/home")

healthy() { python3 -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=2)' "$1" 2>/dev/null; }

run() { # `make run` has to answer within five minutes, downloads included
  if healthy "http://127.0.0.1:$port/health"; then echo "port $port is taken: give another as PORT"; exit 1; fi
  set -m; "${newcomer[@]}" make run PORT="$port" >"$dir/run.log" 2>&1 & server=$!; set +m
  for _ in $(seq 300); do
    if healthy "http://127.0.0.1:$port/health"; then
      echo "make run: healthy after $SECONDS s"
      kill -TERM -- "-$server"; wait "$server" || true; server=
      return
    fi
    kill -0 "$server" 2>/dev/null || break
    sleep 1
  done
  echo "make run: no answer from /health"; tail -n 30 "$dir/run.log"; exit 1
}

for task in "$@"; do
  case $task in
    run) run ;;
    test) "${newcomer[@]}" make test ;;
    *) echo "unknown task: $task" >&2; exit 2 ;;
  esac
done
