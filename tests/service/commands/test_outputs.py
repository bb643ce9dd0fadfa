"""What is wrong with a command line is said before a model is loaded."""

from pathlib import Path

import pytest

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.command_line.options import write_json
from tests import pictures
from tests.service.commands.command_line import CommandLine
from tests.service.commands.video import clips


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photograph, a clip and a text, where no command may load a model."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(catalogue, "load", load)
    monkeypatch.setattr(catalogue, "load_folder", load)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/china.jpg").write_bytes(pictures.encoded(pictures.small("china", 64), "JPEG"))
    (tmp_path / "text.txt").write_text("no folder")
    (tmp_path / "data/flags/val/images").mkdir(parents=True)
    clips.halves(tmp_path / "clip.mp4", 2)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("segment gone.jpg -c sky", "gone.jpg: No such file"),
        ("segment-scene gone.tif -c sky --window 128", "gone.tif: No such file"),
        ("segment photos -c sky --out text.txt", "expected a folder, got the file text.txt"),
        ("segment photos -c sky --out text.txt/out", "text.txt is a file"),
        (
            "segment photos -c sky --format png",
            "Invalid value for '--format': expected one of coco, coco-panoptic, yolo",
        ),
        ("segment photos -c sky --max-side big", "Invalid value for '--max-side': expected a valid integer"),
        ("segment photos -c sky --model nobodys", "no model 'nobodys'; there is: tiny"),
        ("segment photos --point 1,2 --model tcl", "expected one of semantic, instance, panoptic for model tcl"),
        ("segment photos -c a --task panoptic --model edgetam", "expected one of prompt, everything for model edgetam"),
        ("segment photos -c sky,tree", "-c sky -c tree"),
        ('segment photos -c ["sky","tree"]', "-c sky -c tree"),
        ("segment photos -c sky -c Sky", "only once"),
        ("segment photos -c \N{NO-BREAK SPACE}", "a word, not blank"),
        ("segment photos -c sky --threshold nan", "threshold: expected a finite number"),
        ("segment photos -c sky --threshold 2", "threshold: expected less than or equal to 1"),
        ("segment photos -c sky --threshold 0.5 --no-background", "every pixel gets a class"),
        ("segment photos -c sky --max-side 1", "max_side: expected greater than or equal to 32"),
        ("segment photos -c sky --server http://a.example --device cpu", "--device"),
        ("segment photos -c sky --api-key k", "--api-key"),
        ("segment photos -c sky --device abacus", "expected auto, cpu, cuda"),
        ("segment photos --vocabulary lvis --format voc", "at most 253"),
        ("segment photos --vocabulary none", "none"),
        ("video gone.mp4 -c sky --out out.mp4", "no such file"),
        ("segment photos -c sky --server localhost", "--server: expected an address like http://localhost:8000"),
        ("segment photos -c sky --server http://a.example?b", "--server: expected an address like"),
        ("segment-scene photos/china.jpg -c sky --window 100000", "by --max-pixels"),
        ("segment-scene photos/china.jpg -c sky --bands 1,2", "expected one band or three"),
        ("segment-scene photos/china.jpg -c sky --range 5,1", "LOW < HIGH"),
        ("segment photos/china.jpg -c sky --window 128", "No such option: --window"),
        ("segment photos -c sky --bands 1", "No such option: --bands"),
        ("video photos/china.jpg -c sky --out out.mp4", "`lexiseg segment` takes images"),
        ("video clip.mp4 -c red", "say where the result goes: --out VIDEO, --json FILE"),
        ("video clip.mp4 --out out.mp4", "--vocabulary NAME, --head NAME, or objects to follow (--point, --box)"),
        ("video clip.mp4 -c red --out clip.mp4", "it would overwrite the source"),
        ("video clip.mp4 -c red --out out.mp4 --smoothing 1", "0.95"),
        ("video clip.mp4 -c red --out out.mp4 --seconds 0", "expected more than 0"),
        ("video clip.mp4 -c red --out out.mp4 --api-key x", "it is for a server; give --server"),
        ("video clip.mp4 -c red --out out.mp4 --server a:1 --device cpu", "the server has its own models"),
        ("video clip.mp4 -c red --out out.gif", ".gif is no video format to write; there is: .avi, "),
        ("video clip.mp4 -c red --out out", "no ending"),
        ("video clip.mp4 -c red --out none/out.mp4", "does not exist"),
        ("video clip.mp4 -c red --out out.xml --no-tracking", "which --no-tracking switches off"),
        ("video clip.mp4 -c red --json x.jsonl --server 127.0.0.1:1", "127.0.0.1:1"),
        ("video clip.mp4 -c red --out out.mp4 --task prompt", "'prompt' is not one of"),
        ("video clip.mp4 --point 8,8 --task instance --out out.mp4", "following objects is a task of its own"),
        ("video clip.mp4 -c red --out out.mp4 --model nobodys", "no model 'nobodys'; there is: "),
        ("video clip.mp4 -c red --task panoptic --json x --model edgetam", "prompt, everything for model edgetam"),
        ("teach photos --name gadgets", "'--state-dir' or '--server': one of them says where"),
        ("teach photos --name gadgets --server http://localhost:1 --state-dir state", "the server has its own"),
        ("teach photos --name Bad_Name --state-dir state", "name: expected 1 to 64 of a-z, 0-9 and -"),
        ("teach photos --name gadgets --server grpc://localhost:1", "name the server by its http address"),
        ("heads list --server grpc://localhost:1", "name the server by its http address"),
        ("heads delete ../x --state-dir state", "name: expected 1 to 64 of a-z, 0-9 and -"),
        ("bulk photos rows --local", "give either classes or --vocabulary"),
        ("bulk photos rows --vocabulary lvis --to voc --local", "expected at most 253 classes, got 1203"),
        ("bulk photos rows --head gadgets --local", "there is none called 'gadgets'"),
        ("bulk photos rows -c a --to csv --local", "expected one of coco, coco-panoptic, yolo"),
        ("bulk photos rows -c a --actors 3:1", "1 <= MIN <= MAX"),
        ("keys new camera,7", "lexiseg: ID: expected"),
        ("keys new labels --scope root", "scope: expected segment, vocabularies, admin, got 'root'"),
        ("eval --dataset flags --root data --compare tiny tiny --task box", "No such option: --task"),
        ("eval --dataset flags --root data --compare tiny tiny --refine none", "No such option: --refine"),
        ("eval paper tcl --dataset voc21 --root data", "No such option: --dataset"),
        ("eval benchmark --dataset voc21 --root data --protocol tcl --runtime onnx", "No such option: --runtime"),
        ("eval box --dataset flags --root data --refine pamr", "No such option: --refine"),
        ("eval depth --dataset flags --root data", "No such command 'depth'"),
        ("eval --root data", "Missing option '--dataset'"),
        ("segment-scene photos/china.jpg -c sky --out -", "files of its own into a folder"),
        ("segment-scene photos/china.jpg -c sky --model nobodys", "no model 'nobodys'"),
        ("calibrate photos --vocabulary voc21 --dry-run --masks photos", "1 of 1 missing"),
        ("calibrate photos --vocabulary voc21 --dry-run --model nobodys", "no model 'nobodys'"),
        ("bulk photos rows -c sky --local --model nobodys", "no model 'nobodys'"),
        ("bulk gone rows -c sky --local", "gone: nothing is there"),
        ("compare tiny nobodys photos -c sky", "no model 'nobodys'"),
        ("compare tiny tiny photos -c sky --json photos", "expected a file, got the folder photos"),
        ("compare tiny tiny photos", "give either classes or --vocabulary"),
        ("eval --dataset flags --root data --model nobodys", "no model 'nobodys'"),
        ("eval --dataset flags --root data --compare tiny nobodys", "no model 'nobodys'"),
        ("eval panoptic --dataset gone --root data", "gone"),
        ("eval --dataset flags --root data --json text.txt/figures.json", "text.txt is a file"),
        ("data pseudo-label photos labelled -c sky --model nobodys", "no model 'nobodys'"),
        ("eval --dataset gone --root data", "does not exist; expected"),
        ("eval --dataset flags --split test --root data", "classes.json"),
        ("eval --dataset flags --root data --runtime tensorflow", "--runtime / LEXISEG_RUNTIME"),
        ("eval benchmark --dataset voc21 --root data --protocol mine", "no protocol 'mine'; known protocols: tcl"),
        ("eval benchmark --dataset voc22 --root data --protocol tcl", "the protocol tcl does not cover 'voc22'"),
        ("eval benchmark --dataset ade20k --root data --protocol tcl", "none of"),
        ("eval benchmark --dataset voc21 --root data --protocol tcl --split test", "voc21 has no split 'test'"),
        ("eval panoptic --dataset coco-panoptic --root data", "none of"),
        ("eval panoptic --dataset coco-instance --root data", "coco-instance has instances only"),
        ("eval panoptic --dataset ade20k-panoptic --root data --split test", "has no split 'test'"),
        ("data check gone", "does not exist"),
        ("data check photos/..", "holds no pairs; expected"),
        ("data pack photos", "expected SRC and DST"),
        ("data prepare voc2007 photos sets", "no official set 'voc2007'; known sets: voc2012, camvid, coco"),
        ("sample street.jpg", "street.jpg: no such photograph; there is: china.jpg, flower.jpg, cat.jpg"),
        ("train huge", "no recipe 'huge'; known recipes: "),
        ("train finetun", "no recipe 'finetun' (did you mean finetune?); known recipes: "),
        ("train tiny steps=-3", "-3"),
        ("train tiny colour=red", "colour: "),
        ("train tiny learning_rat=3", "learning_rat: no such setting; did you mean learning_rate? (got 3)"),
        ("models check nobodys", "no model 'nobodys'"),
        ("models push nobodys store", "no model 'nobodys'"),
        ("models pull store/tiny", "no folder to pull into: set LEXISEG_MODELS_DIR"),
        ("models pull tiny --models-dir models", "names no model; expected URL/NAME"),
        ("models pull store/.. --models-dir models", "names no model; expected URL/NAME"),
        ("models import --models-dir m --method tcl x", "needs --checkpoint"),
        ("models import --models-dir m --method tcl --checkpoint a.pth --policy sclip x", "for --method dense-clip"),
        ("models import --models-dir m --method tcl --checkpoint a.pth --architecture ViT-L-14 x", "patches of 16"),
        ("models import --models-dir m --method tcl --checkpoint nowhere.pth x", "no weights at nowhere.pth"),
        ("models import --models-dir m --method dense-clip x", "needs --clip"),
        ("models import --models-dir m --method dense-clip --clip nowhere.pt --policy magic x", "no policy 'magic'"),
        ("models import --models-dir m --method dense-clip --clip nowhere.pt --policy SCLIP x", "no weights at"),
        ("models import --models-dir m --method dense-clip --clip a.pt --checkpoint b.pth x", "b.pth is for --method"),
        ("models import --models-dir m --method dense-clip --clip a.pt --backbone resnet50 x", "for --method s-seg"),
        ("models import --models-dir m --method s-seg x", "--method s-seg needs --checkpoint"),
        ("models import --models-dir m --method s-seg --checkpoint a.pth --clip b.pt x", "for --method dense-clip or"),
        ("export --model nobodys", "no model 'nobodys'"),
        ("export --int8 --photos gone --out out", "No such file"),
        ("export --int8 --photos data --out out", "expected a folder with images"),
        ("site out --model nobodys", "no model 'nobodys'"),
    ],
)
def test_a_wrong_argument_is_refused_before_a_model_is_loaded_or_a_file_written(
    lexiseg: CommandLine, folder: Path, words: str, said: str
) -> None:
    before = set(folder.rglob("*"))

    outcome = lexiseg(*words.split(" "))

    assert outcome.status != 0
    assert said in " ".join(outcome.err.replace("│", " ").split())
    assert set(folder.rglob("*")) == before


def test_figures_go_to_the_standard_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(Path("-"), {"miou": 1})

    assert capsys.readouterr().out == '{\n "miou": 1\n}\n'
    assert not (folder / "-").exists()
