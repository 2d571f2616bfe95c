"""Run every fault many times and sum up: ``python tests/faults/repeat.py 20``.

Further arguments go to pytest. What was measured is left in the file that
LIVN_IPP_FAULTS_RECORD names, or else in faults.jsonl, for docs/faults.py.
"""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

HERE = Path(__file__).parent


def main(times: int, *arguments: str) -> int:
    record = Path(os.environ.get("LIVN_IPP_FAULTS_RECORD", "faults.jsonl"))
    record.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "LIVN_IPP_FAULTS_REPEAT": str(times),
        "LIVN_IPP_FAULTS_RECORD": str(record.absolute()),
    }
    command = [sys.executable, "-m", "pytest", str(HERE), "-q", *arguments]
    code = subprocess.run(command, env=environment, check=False).returncode
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    longest: dict[str, float] = defaultdict(float)
    for line in map(json.loads, record.read_text(encoding="utf-8").splitlines()):
        if "outcome" in line:
            outcomes[line["test"]][line["outcome"]] += 1
            longest[line["test"]] = max(longest[line["test"]], line["seconds"])
    for test, counts in outcomes.items():
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        print(f"{test:70} {told:24} longest {longest[test]:6.1f} s")
    return code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
