"""The comparison with other packages runs, and finds that answers agree. Its times are nobody's promise."""

import subprocess
import sys
from pathlib import Path

import pytest

COMPARE = Path(__file__).parent / "benchmarks" / "compare.py"


@pytest.mark.slow
def test_a_small_comparison_prints_both_tables():
    cases = "cube,cube-bounds,trend-gaps"
    command = [sys.executable, str(COMPARE), "--quick", "--fits", "24", "--repeats", "1", "--cases", cases]
    done = subprocess.run([*command, "--without", "processes,jaxopt"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    fitters = [row[1] for row in rows if len(row) == 11]
    assert fitters.count("xr_modelfit, numpy") == 3
    assert fitters.count("xr_modelfit, numpy, lazy") == 3
    assert fitters.count("DataArray.curvefit") == 3
    assert fitters.count("DataArray.polyfit") == 1
    assert fitters.count("scipy leastsq, loop") == 2  # it knows no bounds
    assert any(row[0] == "exp of NumPy" for row in rows)
    own = [row[6] for row in rows if len(row) == 11 and row[1].startswith("xr_modelfit, numpy,")]
    assert set(own) == {"100 %"}


@pytest.mark.slow
def test_the_table_of_readers_of_units_is_that_of_the_documentation():
    """Of this package and of astropy; other readers need not be installed."""
    script = Path(__file__).parent / "benchmarks" / "unit_readers.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (Path(__file__).parents[1] / "docs" / "units.md").read_text().replace("`", "'")
    printed = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert printed[0] in page
    assert next(line for line in printed if line.startswith("| xr_modelfit")) in page
