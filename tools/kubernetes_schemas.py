"""Make the schemas of Kubernetes fit kubeconform: `make kubeconform` calls this.

The schemas are those of the Python package `kubernetes-validate`, which has them for each version of Kubernetes. They
refer to each other by addresses of a server; kubeconform needs names of files.
"""

import json
import sys
from pathlib import Path
from zipfile import ZipFile

VERSION = "v1.34.0"


def extract(wheel: Path, folder: Path) -> int:
    """Write the strict schemas of one version, which allow no unknown field, into a folder. Return their number."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f"kubernetes_validate/kubernetes-json-schema/{VERSION}-local-strict/"
    with ZipFile(wheel) as packed:
        names = [name for name in packed.namelist() if name.startswith(prefix) and name.endswith(".json")]
        for name in names:
            text = packed.read(name).decode().replace('"/api/_definitions.json#', '"_definitions.json#')
            schema = json.loads(text)
            schema.pop("$id", None)  # otherwise names of files are taken for addresses of this server
            (folder / name.removeprefix(prefix)).write_text(json.dumps(schema))
    return len(names)


if __name__ == "__main__":
    (wheel,) = Path(sys.argv[1]).glob("kubernetes_validate-*.whl")
    if not extract(wheel, Path(sys.argv[2])):
        sys.exit(f"{wheel.name} has no schemas of Kubernetes {VERSION}")
