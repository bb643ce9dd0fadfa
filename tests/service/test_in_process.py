import numpy as np

from lexiseg_model.catalogue import models as catalogue
from lexiseg_service.in_process import named_or_folder
from lexiseg_service.settings import Settings
from tests import pictures


def test_a_model_has_the_numbers_of_a_server_by_its_name_and_by_its_folder() -> None:
    picture, folder = np.asarray(pictures.small()), str(catalogue.find("tiny").folder)

    served, by_folder, in_float = (
        named_or_folder(Settings(device="cpu", runtime=runtime), name).encode(picture).tensors["pixels"]
        for name, runtime in (("tiny", "auto"), (folder, "auto"), (folder, "torch"))
    )

    assert by_folder.equal(served)
    assert not in_float.equal(served)
