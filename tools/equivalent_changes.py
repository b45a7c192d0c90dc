"""Changes that change nothing: file, line as it stands, what is replaced, by what; and why nobody can notice."""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {}
