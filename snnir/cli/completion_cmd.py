"""`snnir completion`: the scripts that make shells ask snnir for words."""

from __future__ import annotations

import os
from typing import ClassVar

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    split_arg_string,
)

VARIABLE = "_SNNIR_COMPLETE"

#: Every script hands over the line up to the cursor and takes whole words back, one on each line.
#: A word that goes on (it ends in one of / = , : {) gets no space.
#: Bash replaces only what follows the last of its word breaks, so the rest is taken off again.
_BASH = """\
# Completion of snnir for bash. To install it:
#   snnir completion bash > ~/.local/share/bash-completion/completions/snnir
%(complete_func)s() {
    local IFS=$'\\n' line=${COMP_LINE:0:COMP_POINT} value kept=""
    local before=${line##*[[:space:]]} quotes=${line//[^\\"\\']/}
    local in_quotes=$((${#quotes} %% 2))
    COMPREPLY=()
    if ((! in_quotes)) && [[ $before == *[$COMP_WORDBREAKS]* ]]; then
        kept=${before%%"${before##*[$COMP_WORDBREAKS]}"}
    fi
    for value in $(env COMP_LINE="$line" %(complete_var)s=bash_complete "$1"); do
        [[ $value == *[/=,:{] ]] && compopt -o nospace 2>/dev/null
        value=${value#"$kept"}
        ((! in_quotes)) && [[ $value == *[[:space:]]* ]] && printf -v value %%q "$value"
        COMPREPLY+=("$value")
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null ||
    complete -F %(complete_func)s %(prog_name)s
"""
_ZSH = """\
#compdef %(prog_name)s
# Completion of snnir for zsh. To install it, with a folder that is in $fpath:
#   snnir completion zsh > ~/.zfunc/_snnir
%(complete_func)s() {
    local -a whole open
    local value
    (( ! $+commands[%(prog_name)s] )) && return 1
    for value in "${(@f)$(env COMP_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" \\
            %(complete_var)s=zsh_complete %(prog_name)s)}"; do
        case $value in
            '') ;;
            *[/=,:{]) open+=("$value") ;;
            *) whole+=("$value") ;;
        esac
    done
    (( $#open )) && compadd -U -S '' -a open
    (( $#whole )) && compadd -U -a whole
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
_FISH = """\
# Completion of snnir for fish. To install it:
#   snnir completion fish > ~/.config/fish/completions/snnir.fish
function %(complete_func)s
    env COMP_LINE=(commandline -cp) %(complete_var)s=fish_complete %(prog_name)s
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _Words(ShellComplete):
    """Takes a line in COMP_LINE and answers with words, one on each line."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one at the cursor, and that one."""
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)[1:]
        begun = bool(words) and not line[-1:].isspace()
        return (words[:-1], words[-1]) if begun else (words, "")

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Return what the word may become; after `--option=` with that in front."""
        found = super().get_completions(args, incomplete)
        flag, equals, _ = incomplete.partition("=")
        if not equals or not flag.startswith("--"):
            return found
        return [CompletionItem(f"{flag}={item.value}") for item in found]

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return the word, unless it would be several lines."""
        value = str(item.value)
        return value if value.isprintable() else ""


class _Bash(_Words):
    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = _BASH


class _Zsh(_Words):
    name: ClassVar[str] = "zsh"
    source_template: ClassVar[str] = _ZSH


class _Fish(_Words):
    name: ClassVar[str] = "fish"
    source_template: ClassVar[str] = _FISH


SHELLS: dict[str, type[_Words]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def add_shells() -> None:
    """Let click answer shells with the words that these scripts take."""
    for name, shell in SHELLS.items():
        add_completion_class(shell, name)


@click.command("completion")
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete snnir's commands, options, names and files.

    The first lines of the script say where it goes. For one session:
    eval "$(snnir completion bash)".

    Example: snnir completion bash > ~/.local/share/bash-completion/completions/snnir
    """
    made = SHELLS[shell](ctx.find_root().command, {}, "snnir", VARIABLE)
    click.echo(made.source(), nl=False)
