# Stores that this machine can have besides our own: SIGNALBOX_DYNOXIDE and SIGNALBOX_MINISTACK name their programs.
# Sourced; needs $root's .venv. dynoxide comes where npm is, ministack where pip can install it.

ensure_stores() {
    local cache="${XDG_CACHE_HOME:-$HOME/.cache}/signalbox/conformance"
    mkdir -p "$cache" || return 1

    if [[ -z "${SIGNALBOX_DYNOXIDE:-}" && "$(uname -sm)" == "Linux x86_64" ]] && command -v npm >/dev/null; then
        local dynoxide=$cache/node_modules/@dynoxide/linux-x64/dynoxide
        [[ -x "$dynoxide" ]] || npm install --prefix "$cache" --no-audit --no-fund --silent @dynoxide/linux-x64@1.2.1
        [[ -x "$dynoxide" ]] && export SIGNALBOX_DYNOXIDE=$dynoxide
    fi

    if [[ -z "${SIGNALBOX_MINISTACK:-}" ]]; then
        # An environment of its own, because its dependencies are none of ours.
        local ministack=$cache/ministack/bin/ministack
        [[ -x "$ministack" ]] || { .venv/bin/python -m venv "$cache/ministack" \
            && "$cache/ministack/bin/pip" install -qq --disable-pip-version-check ministack==1.5.33; }
        [[ -x "$ministack" ]] && export SIGNALBOX_MINISTACK=$ministack
    fi
    return 0
}
