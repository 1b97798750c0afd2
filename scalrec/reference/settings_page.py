"""The page of all settings: a table for each section, from the settings' own descriptions."""

from __future__ import annotations

import inspect
from functools import reduce
from itertools import groupby
from typing import Annotated, Any, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from reports.markdown import markdown
from scalrec.reference.cells import cell, code, kind, value_told
from scalrec.setting_names import SettingNames, variable
from scalrec.settings import Settings

_HEAD = """\
# Settings

Every setting can be given in three places. A later one wins:

1. the file `scalrec.toml` in the current folder, or the one that `SCALREC_CONFIG` names;
2. an environment variable, `SCALREC_SECTION__NAME`;
3. an option of a command, `--set section.name=value`.

```toml
seed = 1

[device]
policy = "accumulated-drift"
budget = 0.1
```

```sh
SCALREC_DEVICE__BUDGET=0.1 scalrec simulate --set device.policy=accumulated-drift
```

A command prints all settings when it starts and masks secrets. It refuses a name that is no setting
and says which one is nearest. `REDIS_URL` counts as `cloud.redis_url` where nothing else sets that.

"""


def settings_page() -> str:
    """Sections in the order of ``Settings``; what belongs to none comes first."""
    names = SettingNames(Settings)
    order = {"": 0} | {name: 1 + at for at, name in enumerate(names) if names.is_section(name)}
    values = sorted((n for n in names if not names.is_section(n)), key=lambda n: order[_home(n)])
    parts = [_HEAD]
    for section, inner in groupby(values, key=_home):
        parts.append(_section(names, section, list(inner)))
    return "".join(parts)


def _home(name: str) -> str:
    return name.rpartition(".")[0]


def _section(names: SettingNames, section: str, values: list[str]) -> str:
    rows = [
        [
            # The name on its own line, so that it can be linked to and is not broken.
            f'<span id="{name}">{code(name)}</span><br>{code(variable(name))}',
            cell(kind(_schema(names.field(name)))),
            cell(_default(names, name)),
            cell(names.field(name).description or ""),
        ]
        for name in values
    ]
    title, words = "General", "What belongs to no section."
    if section:
        title, words = code(section), _about(section, names.field(section))
    head = ["setting, variable", "value", "default", "meaning"]
    rows_of = markdown(head, rows)
    # A phone shows the cells of a row one below the other (docs/site/site.css).
    return f'## {title}\n\n{words}\n\n<div class="stacked" markdown>\n\n{rows_of}\n</div>\n\n'


def _about(section: str, field: FieldInfo) -> str:
    """What a section's class says of itself, then what it is as a whole, where that is said."""
    kinds = (field.annotation, *get_args(field.annotation))
    of = next(k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel))
    words = cell(inspect.cleandoc(of.__doc__ or "").partition("\n\n")[0])
    if field.description:
        words += f"\n\n{code(section)} as a whole: {cell(field.description)}."
    return words


def _schema(field: FieldInfo) -> dict[str, Any]:
    bounded: Any = Annotated[field.annotation, field]
    schema: dict[str, Any] = TypeAdapter(bounded).json_schema()
    return schema


def _default(names: SettingNames, name: str) -> str:
    field = names.field(name)
    if field.default_factory is not None:
        return "unset"  # made where the program runs; the description says of what
    try:
        # Neither file nor environment is read, unlike by Settings().
        value = reduce(getattr, name.split("."), Settings.model_construct())
    except AttributeError:
        value = field.default  # in a section that is unset itself
    return value_told(value)
