import re
from pathlib import Path

import lexiseg_service
from lexiseg_model.methods.tiny.browser import CONSTANTS_OF

ENGINE = Path(lexiseg_service.__file__).parent / "web" / "playground" / "engine"
ONE = re.compile(r"constants\.(\w+)\.(\w+)")
SEVERAL = re.compile(r"\{([^{}]+)\} = (?:\w+\.)?constants\.(\w+)")
PARAMETER = re.compile(r"constants: \{ (\w+): \{([^{}]+)\}")


def test_every_constant_that_the_browsers_engine_reads_is_one_of_a_module_it_is_given() -> None:
    code = "\n".join(path.read_text() for path in sorted(ENGINE.glob("*.js")))
    lists = [(module, names) for names, module in SEVERAL.findall(code)] + PARAMETER.findall(code)
    read = {
        *ONE.findall(code),
        *((module, name) for module, names in lists for name in re.findall(r"[A-Z_]{2,}", names)),
    }
    given = {(module.__name__.rpartition(".")[2], name) for module in CONSTANTS_OF for name in vars(module)}

    assert len(read) > 30
    assert read <= given
