#!/usr/bin/env bash
# The Dockerfile without Docker: run its steps by hand as an unprivileged user, then start, ask and stop the broker as
# the image and docker-compose.yml say. Most machines that run the tests have no Docker engine.
#
# What is run is read from Dockerfile, .dockerignore and docker-compose.yml, so that they and this script cannot drift;
# an instruction this script does not know is a failure. Differences: a venv stands for the image's Python, a folder
# below a temporary one for /app, and the steps that make users and owners are left out (they need root).
# Started as root, it drops to `nobody` for all of that and then also shows, in the temporary folder only, that the
# entrypoint mends a root-owned data/ and gives up root's rights.
#
# Exit code 0: all well; parts that could not be shown say `skip:` and why. Else 1 and a line `FAILED: …`.
# VARIANT=programs walks that variant: then npx and uvx must be there and work for the broker's user.
# PYTHON=… is the interpreter tried first; it must be 3.11 or newer and one that an unprivileged user can run.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
repo=$PWD

fail() {
    printf 'FAILED: %s\n' "$*"
    [ -z "${log:-}" ] || { echo "--- what it printed:"; cat -- "$log"; }
    exit 1
}
note() { printf '%s\n' "$*"; }

root=
[ "$(id -u)" != 0 ] || root=yes
top=$(mktemp -d "${TMPDIR:-/tmp}/docker-by-hand.XXXXXX")
pid=
cleanup() {
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || :
    rm -rf -- "$top"
}
trap cleanup EXIT
chmod 755 "$top"
app=$top/app bin=$top/bin venv=$top/venv
mkdir "$app" "$bin"

# Who does the steps: whoever calls, or `nobody` in root's stead.
hand=()
hand_uid=$(id -u) hand_gid=$(id -g)
if [ -n "$root" ]; then
    hand_uid=65534 hand_gid=65534
    command -v setpriv >/dev/null || { note "skip: everything, started as root and there is no setpriv to drop it with"; exit 0; }
    hand=(setpriv "--reuid=$hand_uid" "--regid=$hand_gid" --clear-groups)
    chown -R "$hand_uid:$hand_gid" "$app" "$bin" "$top"
fi
export HOME=$top
by_hand() { ${hand[@]+"${hand[@]}"} "$@"; }
# Settings of the caller's own broker must not reach this one.
while IFS= read -r name; do unset "$name"; done < <(compgen -e | grep '^MCP_ENDPOINT' || :)
unset PYTHONPATH PYTHONHOME

python=
image_python=$(sed -n 's/^ARG BASE_IMAGE=python:\([0-9.]*\)-.*/\1/p' Dockerfile)
for candidate in ${PYTHON:+"$PYTHON"} "python$image_python" python3 /usr/bin/python3; do
    if (cd / && by_hand "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))') 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { note "skip: everything, user $hand_uid can run no Python >= 3.11 with venv (on Debian: apt-get install -y python3-venv; else set PYTHON=)"; exit 0; }

# One line per instruction: its name, a tab, the rest. COPY is expanded to the files that .dockerignore lets through.
"$python" - "$repo" >"$top/steps" <<'PY' || fail "Dockerfile or .dockerignore is written in a way this script does not know"
import json, re, sys
from pathlib import Path

repo = Path(sys.argv[1])


def pattern(line):
    """One .dockerignore line (of the kinds used here) as (lets through, matcher of a path or of a folder above it)."""
    allow, glob = line.startswith("!"), line.removeprefix("!").strip("/")
    regex = re.escape(glob).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
    return allow, re.compile(regex + "(/.*)?")


rules = [pattern(x) for x in map(str.strip, (repo / ".dockerignore").read_text().splitlines()) if x and x[0] != "#"]


def let_through(path):
    allowed = True
    for allow, matcher in rules:
        if matcher.fullmatch(path):
            allowed = allow
    return allowed


text = re.sub(r"^\s*#.*\n", "", (repo / "Dockerfile").read_text(), flags=re.M)
for line in filter(None, map(str.strip, re.sub(r"\\\n\s*", " ", text).splitlines())):
    name, rest = line.split(None, 1)
    if name == "HEALTHCHECK":
        rest = rest[rest.index("CMD") + 3 :].strip()
    if name in {"HEALTHCHECK", "ENTRYPOINT"}:
        rest = "\t".join(json.loads(rest))  # the exec form only: the shell form would not pass signals on
    if name == "COPY":
        *sources, target = rest.split()
        assert target.endswith("/") and not rest.startswith("--"), line
        for source in sources:
            base = repo / source
            found = sorted(base.rglob("*")) if base.is_dir() else [base]
            files = [f for f in found if f.is_file() and let_through(f.relative_to(repo).as_posix())]
            assert files, f"nothing to copy: {source}"
            for file in files:
                print(f"COPY\t{file}\t{target}{file.relative_to(base if base.is_dir() else base.parent).as_posix()}")
        continue
    print(f"{name}\t{rest}")
PY

export PATH=$venv/bin:$PATH VARIANT=${VARIANT:-plain}
stop_signal= health=() entrypoint=()
cd -- "$app"
while IFS=$'\t' read -r -a step; do
    case ${step[0]} in
    ARG) ;;
    EXPOSE) grep -q "\"${step[1]}:${step[1]}\"" "$repo/docker-compose.yml" || fail "docker-compose.yml does not publish ${step[1]}" ;;
    FROM)
        by_hand "$python" -m venv "$venv"
        note "FROM python:$image_python-…: by hand $(python --version) from $(readlink -f "$(command -v "$python")")"
        ;;
    ENV) for pair in ${step[1]}; do export "${pair?}"; done ;;
    WORKDIR) [ "${step[1]}" = /app ] || fail "WORKDIR is ${step[1]}, this script knows /app" ;;
    RUN)
        case ${step[1]} in
        groupadd*)
            [[ ${step[1]} == *"--uid 1000 "* ]] && grep -q '^uid=1000 gid=1000 ' "$repo/docker/entrypoint.sh" ||
                fail "the user of the Dockerfile and that of docker/entrypoint.sh are not the same"
            note "skip: RUN ${step[1]%% &&*} … (makes a user, needs root)"
            ;;
        install*)
            note "RUN ${step[1]} (as oneself)"
            # shellcheck disable=SC2001
            by_hand sh -c "$(sed 's/ -[og] [0-9]*//g' <<<"${step[1]}")"
            ;;
        *)
            note "RUN ${step[1]}"
            by_hand sh -c "${step[1]}" >"$top/run.log" 2>&1 && continue
            if grep -q 'NewConnectionError\|ConnectTimeoutError\|Temporary failure in name resolution' "$top/run.log"; then
                note "skip: everything else, the packages cannot be fetched (no network?)"
                exit 0
            fi
            log=$top/run.log
            fail "RUN ${step[1]}"
            ;;
        esac
        ;;
    COPY)
        target=$app/${step[2]}
        [ -d "$(dirname -- "$target")" ] || by_hand mkdir -p -- "$(dirname -- "$target")"
        # Read by the caller, written by the hand: the checkout may be closed to `nobody`.
        by_hand sh -c 'cat >"$1"' sh "$target" <"${step[1]}"
        ;;
    STOPSIGNAL) stop_signal=${step[1]} ;;
    HEALTHCHECK) health=("${step[@]:1}") ;;
    ENTRYPOINT) entrypoint=("${step[@]:1}") ;;
    *) fail "the Dockerfile has an instruction this script does not know: ${step[0]}" ;;
    esac
done <"$top/steps"
entrypoint=("${entrypoint[@]//\/app\//$app/}")
note "COPY: $(grep -c '^COPY' "$top/steps") files"
grace=$(sed -n 's/^ *stop_grace_period: *\([0-9]*\)s.*/\1/p' "$repo/docker-compose.yml")
[ -n "$stop_signal" ] && [ -n "$grace" ] && [ ${#health[@]} -gt 0 ] && [ ${#entrypoint[@]} -gt 0 ] ||
    fail "STOPSIGNAL, HEALTHCHECK, ENTRYPOINT or compose's stop_grace_period is missing"
for leak in .git data/.mcp-endpoint-server.cfg .venv tests; do
    [ ! -e "$app/$leak" ] || fail "$leak got into the image; mend .dockerignore"
done

MCP_ENDPOINT_SERVER__PORT=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export MCP_ENDPOINT_SERVER__PORT MCP_ENDPOINT_SERVER__HOST=127.0.0.1 # not open to the network while testing

healthy() { timeout 10 "${health[@]}" >/dev/null 2>&1; }
field() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status"; }
# life NAME UID GID [COMMAND …]: the entrypoint started through COMMAND lives as UID:GID, is healthy, ends as it should.
life() {
    local name=$1 uid=$2 gid=$3 begun status=0
    shift 3
    log=$top/$name.log
    ! healthy || fail "$name: the health check is content though nothing runs"
    "$@" "${entrypoint[@]}" >"$log" 2>&1 &
    pid=$!
    begun=$SECONDS
    until healthy; do
        kill -0 "$pid" 2>/dev/null || fail "$name: it ended before it was healthy"
        [ $((SECONDS - begun)) -lt 30 ] || fail "$name: not healthy after 30 s"
        sleep 0.1
    done
    # One process from the entrypoint on: what Docker signals is Python itself.
    [[ $(tr '\0' ' ' <"/proc/$pid/cmdline") == "python main.py " ]] || fail "$name: process $pid is not Python: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
    [ "$(field Uid)" = "$uid	$uid	$uid	$uid" ] || fail "$name: runs as uid $(field Uid), not $uid"
    [ "$(field Gid)" = "$gid	$gid	$gid	$gid" ] || fail "$name: runs as gid $(field Gid), not $gid"
    if [ -n "$root" ]; then
        [ -z "$(field Groups | tr -d ' ')" ] || fail "$name: still in groups $(field Groups)"
        [ "$(field CapEff)" = 0000000000000000 ] || fail "$name: still has capabilities $(field CapEff)"
    fi
    begun=$SECONDS
    kill -s "$stop_signal" "$pid"
    timeout "$grace" tail -s 0.1 --pid="$pid" -f /dev/null || fail "$name: still there $grace s after $stop_signal"
    wait "$pid" || status=$?
    pid=
    [ "$status" = 0 ] || fail "$name: exit code $status after $stop_signal"
    [ "$(stat -c %u data/.mcp-endpoint-server.cfg)" = "$uid" ] || fail "$name: the settings file is not the user's"
    note "ok: $name: healthy as $uid:$gid, $stop_signal to exit code 0 in $((SECONDS - begun)) s"
}
# refused NAME [COMMAND …]: the entrypoint started through COMMAND does not start and says what to do.
refused() {
    local name=$1 status=0
    shift
    log=$top/$name.log
    timeout 20 "$@" "${entrypoint[@]}" >"$log" 2>&1 || status=$?
    [ "$status" = 1 ] || fail "$name: exit code $status, not 1"
    grep -q 'cannot .*sudo chown \|无法.*sudo chown ' "$log" || fail "$name: it did not say what to do"
    note "ok: $name: $(tail -n 1 "$log")"
}

if [ "$VARIANT" = programs ]; then
    for program in node npm npx uv uvx; do
        found=$(command -v "$program")
        [[ $found == "$venv"/* ]] || fail "$program is not in the image, but $found"
        by_hand env HOME="$app/home" "$program" --version >"$top/run.log" 2>&1 || { log=$top/run.log; fail "$program does not run"; }
        note "ok: $program $(tail -n 1 "$top/run.log")"
    done
else
    [ ! -e "$venv/bin/node" ] && [ ! -e "$venv/bin/uv" ] || fail "the plain image has programs"
fi

life unprivileged "$hand_uid" "$hand_gid" ${hand[@]+"${hand[@]}"} env
life restart "$hand_uid" "$hand_gid" ${hand[@]+"${hand[@]}"} env
by_hand chmod 555 data
refused read-only-data ${hand[@]+"${hand[@]}"} env MCP_ENDPOINT_LANG=zh
grep -q '无法' "$log" || fail "it was not said in Chinese"
refused read-only-data-in-english ${hand[@]+"${hand[@]}"} env MCP_ENDPOINT_LANG=en
! grep -q '无法' "$log" || fail "it was said in Chinese too"
by_hand chmod 755 data

if [ -z "$root" ]; then
    note "skip: ownership of a root-owned data/ and dropping of privileges (needs root)"
    exit 0
fi
fresh() {
    rm -rf data logs home
    mkdir data logs home
    chown 1000:1000 logs home # as in the image
}
fresh
cp mcp-endpoint-server.cfg data/.mcp-endpoint-server.cfg
chmod 600 data/.mcp-endpoint-server.cfg
mkdir "$top/outside"
touch "$top/outside/file"
chown -R 0:0 data "$top/outside"
ln -s "$top/outside" data/link
ln -s "$top/outside/file" data/file-link
as_root=(setpriv --groups 0,4) # with more groups than one, so that keeping them would show
life root-owned-data 1000 1000 "${as_root[@]}"
[ "$(stat -c %u:%g data data/link logs home | sort -u)" = 1000:1000 ] || fail "data, a link in it, logs or home was not given to the user"
[ "$(stat -c %u "$top/outside" "$top/outside/file" | sort -u)" = 0 ] || fail "a symbolic link in data/ was followed"
grep -q 'belonged to root\|原属 root' "$log" || fail "the change of owner was not reported"
life mended-data 1000 1000 "${as_root[@]}"
! grep -q 'belonged to root' "$log" || fail "ownership was changed again though it was right"

fresh
chown 4242:4243 data
life data-of-another-user 4242 4243 "${as_root[@]}"
[ "$(stat -c %u:%g data home | sort -u)" = 4242:4243 ] || fail "data was taken from its owner"

fresh
touch data/.mcp-endpoint-server.cfg
chmod 600 data/.mcp-endpoint-server.cfg
chown 4242:4243 data/.mcp-endpoint-server.cfg
chown 1000:1000 data
refused unreadable-settings "${as_root[@]}"
