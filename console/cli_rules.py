"""The commands of those who write rules: the group they stand in."""

from __future__ import annotations

import typer

from console.words import say

rules = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=say("规则", "Rules."))
