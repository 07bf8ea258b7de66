# Sourced by the other scripts: makes Python environments from the hashed locks in requirements/.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Print the path of a Python that is new enough; PYTHON overrides the search.
find_python() {
    local candidate found=""
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
        found="$found $candidate ($("$candidate" --version 2>&1 | head -n 1))"
    done
    echo "Signalbox needs Python 3.11, 3.12 or 3.13." >&2
    echo "Found:${found:- no Python at all}." >&2
    echo "Install one, or name it: PYTHON=/path/to/python3 $0" >&2
    return 1
}

# Print the path of the Python the functions run on: byte code fits one version only.
find_lambda_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13.*/bin/python3 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    echo "The build needs Python 3.13, which the functions run on; name it: PYTHON=/path/to/python3.13 $0" >&2
    return 1
}

lock_digest() {
    "$1" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$2"
}

# ensure_environment FOLDER LOCK: make the environment, or bring it up to date when its lock has changed.
ensure_environment() {
    local folder=$root/$1 lock=$root/requirements/$2 python
    if ! "$folder/bin/python" -c '' 2>/dev/null; then
        python=$(find_python) || return 1
        echo "Setting up $1 ($2) with $("$python" --version) …" >&2
        if ! "$python" -m venv --clear "$folder"; then
            echo "Python could not make an environment; on Debian and Ubuntu install python3-venv." >&2
            return 1
        fi
    fi
    local stamp=$folder/.lock-digest digest
    digest=$(lock_digest "$folder/bin/python" "$lock") || return 1
    if [[ "$(cat "$stamp" 2>/dev/null)" != "$digest" ]]; then
        echo "Installing requirements/$2 into $1 …" >&2
        # A lock names everything, so nothing else is to be found.
        "$folder/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r "$lock" >&2 || return 1
        echo "$digest" >"$stamp"
    fi
}
