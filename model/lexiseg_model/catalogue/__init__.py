"""Model catalogue: cards, methods, weight files, import of checkpoints, push and pull."""

from lexiseg_model.catalogue.models import CARD as CARD
from lexiseg_model.catalogue.models import ModelFolder as ModelFolder
from lexiseg_model.catalogue.models import bundled as bundled
from lexiseg_model.catalogue.models import cards as cards
from lexiseg_model.catalogue.models import export_folder as export_folder
from lexiseg_model.catalogue.models import find as find
from lexiseg_model.catalogue.models import folders as folders
from lexiseg_model.catalogue.models import load as load
from lexiseg_model.catalogue.models import load_folder as load_folder
from lexiseg_model.catalogue.models import read_card as read_card
from lexiseg_model.catalogue.models import require as require
from lexiseg_model.catalogue.models import weight_bytes as weight_bytes
from lexiseg_model.catalogue.models import weight_files as weight_files
from lexiseg_model.catalogue.models import write_card as write_card
