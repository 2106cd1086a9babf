"""Messages and cases as Python source that makes them again."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from flow import node_files
from flow.message import Array, Message
from flow.node_type import NodeType
from flow.testing.case import Case

# An array of more elements is written as packed bytes, unless all are equal.
ELEMENTS_MAX = 64


class Source:
    """Writes values as source, and remembers what must be imported for it.

    node: the name that the source has for the node type.
    """

    def __init__(self, node: str, node_type: NodeType[Any]) -> None:
        self.node, self.type = node, node_type
        self.imports: dict[str, set[str]] = {}
        self.modules: set[str] = set()

    def case(self, case: Case, indent: str) -> str:
        """A call of Case."""
        rows = [f"settings={self.value(dict(case.settings))}"]
        inputs = []
        for port, items in case.inputs.items():
            messages = "".join(
                f"\n{indent}        ({moment!r}, {self.message(message, port)})," for moment, message in items
            )
            inputs.append(f"{indent}        {port!r}: [{messages}{chr(10) + indent + '        ' if messages else ''}],")
        rows.append("inputs={\n" + "\n".join(inputs) + f"\n{indent}    }}" if inputs else "inputs={}")
        rows += [f"dims={dict(case.dims)!r}", f"most={case.most}", f"seed={case.seed}", f"schedule={case.schedule}"]
        rows.append(f"choices={list(case.choices)!r}")
        self.imports.setdefault("flow.testing", set()).add("Case")
        return "Case(\n" + "".join(f"{indent}    {row},\n" for row in rows) + f"{indent})"

    def message(self, message: Message, port: str) -> str:
        """A call of a message's class."""
        values = ", ".join(f"{field.name}={self.value(getattr(message, field.name))}" for field in message.fields)
        return f"{self.message_class(type(message), port)}({values})"

    def message_class(self, cls: type[Message], port: str) -> str:
        if "." in cls.__qualname__ or cls not in (found := self.type.ports[port].messages):
            return f"{self.node}.ports[{port!r}].messages[0]"
        if cls.__module__ == self.type.function.__module__ and "/" in self.node:
            return f"{self.node}.ports[{port!r}].messages[{found.index(cls)}]"
        if cls.__module__ == "__main__" or not self.importable(cls.__module__):
            return f"{self.node}.ports[{port!r}].messages[{found.index(cls)}]"
        self.imports.setdefault(cls.__module__, set()).add(cls.__qualname__)
        return cls.__qualname__

    def importable(self, module: str) -> bool:
        return not node_files.is_file(node_files.name_of(module))

    def value(self, value: Any) -> str:
        """Any value of a field or setting."""
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key!r}: {self.value(item)}" for key, item in value.items()) + "}"
        if isinstance(value, np.ndarray):
            return self.array(value)
        if hasattr(value, "detach"):
            self.modules.add("torch")
            return f"torch.from_numpy({self.array(value.detach().cpu().numpy())})"
        return self.number(value)

    def number(self, value: Any) -> str:
        text = repr(value)
        for name in ("nan", "inf"):
            if name in text and isinstance(value, (float, complex, list)):
                self.imports.setdefault("numpy", set()).add(name)
        return text

    def array(self, array: Array) -> str:
        """A numpy array with its dtype, shape and how it lies in memory."""
        self.modules.add("numpy as np")
        text = self._elements(array)
        if array.ndim and array.size > 1 and not array.flags.c_contiguous:
            layout = "F" if array.flags.f_contiguous else "reversed" if array.strides[-1] < 0 else "strided"
            self.imports.setdefault("flow.testing", set()).add("laid_out")
            return f'laid_out({text}, "{layout}")'
        return text

    def _elements(self, array: Array) -> str:
        dtype = f"np.{array.dtype.name}" if array.dtype.kind != "b" else "bool"
        if array.size == 0:
            return f"np.zeros({array.shape}, {dtype})"
        flat = np.ascontiguousarray(array).reshape(-1)
        if array.size > 4 and flat.tobytes() == np.full(array.size, flat[0], array.dtype).tobytes():
            return f"np.full({array.shape}, {self.number(flat[0].item())}, {dtype})"
        if array.size <= ELEMENTS_MAX:
            return f"np.array({self.number(array.tolist())}, {dtype})"
        self.modules |= {"base64", "zlib"}
        packed = base64.b64encode(zlib.compress(flat.tobytes(), 9)).decode()
        return f'np.frombuffer(zlib.decompress(base64.b64decode("{packed}")), {dtype}).reshape({array.shape})'

    def header(self) -> str:
        """The imports, in the order in which a reader expects them."""
        plain = sorted(name for name in self.modules if name in ("base64", "zlib"))
        others = sorted(self.modules - set(plain))
        lines = [f"import {name}" for name in plain] + ([""] if plain else []) + [f"import {name}" for name in others]
        lines += [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(self.imports.items())]
        return "\n".join(lines)
