"""A tuned prompt as one zip: the PEFT folder byte for byte, and a card that says what it is. Reads rows and stored files."""

import shutil
import tempfile
import zipfile
from pathlib import PurePosixPath
from typing import IO

from django.utils.text import slugify

from experiments.models import Artifact, Run, Score, Split
from experiments.storage import open_stored

CARD = "CARD.md"
IN_MEMORY_BYTES = 8 * 2**20
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same artifact gives the same bytes whenever it is downloaded


def artifact_zip(artifact: Artifact) -> IO[bytes]:
    """The folder with its card, open for reading from the start."""
    bundle = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - the answer closes it once it is sent
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_STORED) as folder:  # weights do not compress
        for name, stored in sorted(artifact.files.items()):
            with open_stored(stored["sha256"]) as source, folder.open(zipfile.ZipInfo(_plain_name(name), EPOCH), "w") as member:
                shutil.copyfileobj(source, member)
        folder.writestr(zipfile.ZipInfo(CARD, EPOCH), artifact_card(artifact))
    bundle.seek(0)
    return bundle


def artifact_zip_name(artifact: Artifact) -> str:
    run = artifact.run
    return f"promptlab-{slugify(run.approach.name)[:60] or 'artifact'}-seed-{run.seed}.zip"


def artifact_card(artifact: Artifact) -> str:
    """What a person needs to know who finds the folder later."""
    run = artifact.run
    experiment, backbone = run.approach.experiment, run.approach.backbone
    facts = {
        "Comparison": experiment.name,
        "Data": str(experiment.dataset_version),
        "Method": run.approach.method,
        "Seed": str(run.seed),
        "Model": f"{backbone.source or backbone.name} {backbone.revision}".strip() if backbone else "unknown",
        "Accuracy on validation rows": _accuracy(run),
        "Made": artifact.created_at.strftime("%Y-%m-%d %H:%M UTC"),
    }
    lines = [f"- {name}: {_one_line(value)}" for name, value in facts.items()]
    return "\n".join([f"# {_one_line(run.approach.name)}", "", *lines, "", USES.get(run.approach.method, WITH_PEFT) + FRAME])


WITH_PEFT = """Load it on the model it was made for, with PEFT:

    from peft import PeftModel
    tuned = PeftModel.from_pretrained(model, "path/of/this/folder")
"""
# Methods that PEFT lacks.
USES = {
    "full": """It is a whole model; load it as one, or register its folder under Library:

    from transformers import AutoModelForCausalLM
    tuned = AutoModelForCausalLM.from_pretrained("path/of/this/folder")
""",
    "bottleneck": """PEFT has no such adapter. `bottleneck_config.json` names the matrices of each block (`places`), and
`bottleneck_adapter.safetensors` holds `block_<i>.<place>.<down|up>.<weight|bias>`. Behind its matrix, whose output is h, it computes

    h + up(activation(down(h)))
""",
}
FRAME = """
`promptlab.json` holds the exact frame around each row, the answer words, the recipe, versions and file hashes.
"""


def _accuracy(run: Run) -> str:
    score = Score.objects.filter(evaluation__run=run, evaluation__split=Split.VALIDATION, metric="accuracy").first()
    return "not measured" if score is None or score.value is None else f"{score.value:.4f} (n = {score.n})"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain_name(name: str) -> str:
    """A member's name without a way out of the folder, whatever wrote it."""
    return PurePosixPath(name.replace("\\", "/")).name or "file"
