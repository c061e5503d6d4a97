#!/bin/sh
# What the browser test needs: Debian's Chromium, playwright-core (it drives Chromium, and brings none), anywidget.
# Usage: tools/browser.sh [python]   Everything but Chromium goes to build/browser and the given Python's environment.
set -u
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
missing=

command -v chromium >/dev/null 2>&1 || {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq >/dev/null 2>&1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1
  fi
  command -v chromium >/dev/null 2>&1 || missing="$missing chromium(apt-get install chromium)"
}
if command -v npm >/dev/null 2>&1; then
  [ -d build/browser/node_modules/playwright-core ] || npm install --silent --no-audit --no-fund --prefix build/browser playwright-core@1 >/dev/null 2>&1
fi
[ -d build/browser/node_modules/playwright-core ] || missing="$missing playwright-core(npm)"
constraints=; [ -f constraints.txt ] && constraints='-c constraints.txt'
"$python" -c 'import anywidget' 2>/dev/null || "$python" -m pip install -q $constraints anywidget >/dev/null 2>&1 || missing="$missing anywidget(pip)"

if [ -n "$missing" ]; then echo "browser test: missing$missing; it will be skipped" >&2; exit 1; fi
echo "browser test: $(chromium --version --no-sandbox 2>/dev/null | head -1), playwright-core $(sed -n 's/.*"version": "\(.*\)".*/\1/p' build/browser/node_modules/playwright-core/package.json | head -1)"
