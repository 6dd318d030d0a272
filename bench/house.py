"""python -m bench.house [ROOT]: how large the code of a checkout is, and how much of it goes without types."""

import argparse
import ast
import re
from pathlib import Path

from bench.readme import ROOT

LONG = 40  # lines of a function
TOLD_APART = (
    r"isinstance\((?:pair\.)?(?:rescaler|network)\b|hasattr\(rescaler|getattr\(innermost|isinstance\(module, Mixing"
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.house", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=ROOT)
    texts = [path.read_text() for path in sorted((parser.parse_args().root / "src" / "coscale").rglob("*.py"))]
    functions = [
        node
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    def count(pattern: str) -> int:
        return sum(len(re.findall(pattern, text)) for text in texts)

    figures = {
        "lines": sum(len(text.splitlines()) for text in texts),
        "modules": len(texts),
        f"functions of more than {LONG} lines": sum((f.end_lineno or 0) - f.lineno >= LONG for f in functions),
        "rescalers told apart by type": count(TOLD_APART),
        "uses of Any": count(r"\bAny\b") - count(r"import[^\n]*\bAny\b"),
        "dict[str, Any]": count(r"dict\[str, Any\]|\bRow\b"),
    }
    for what, figure in figures.items():
        print(f"{what:32}{figure:8}")


if __name__ == "__main__":
    main()
