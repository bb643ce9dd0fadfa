"""A folder labelled by words, in FiftyOne: `python fiftyone_dataset.py photos/ cat dog`."""

import sys

import fiftyone

from lexiseg_client import Client, Segmentation

folder, *words = sys.argv[1:]
dataset = fiftyone.Dataset.from_images_dir(folder)
samples = list(dataset)
with Client() as client:
    answers = client.map([sample.filepath for sample in samples], words, on_error="return", task="instance")
    for sample, answer in zip(samples, answers, strict=True):
        if isinstance(answer, Segmentation):
            sample["lexiseg"] = answer.to_fiftyone()
        else:  # one damaged file costs itself alone
            sample["lexiseg_error"] = str(answer)
        sample.save()
fiftyone.launch_app(dataset).wait()
