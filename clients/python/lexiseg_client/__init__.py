"""lexiseg's client: send an image and words, get masks as numpy arrays.

from lexiseg_client import Client

with Client("http://localhost:8000") as client:
    for segment in client.segment("cat.jpg", classes=["cat", "sofa"]):
        print(segment.label, segment.score, segment.mask.sum())
"""

from lexiseg_client.address import __version__ as __version__
from lexiseg_client.aio import AsyncClient as AsyncClient
from lexiseg_client.aio import AsyncVocabularies as AsyncVocabularies
from lexiseg_client.calling.mapping import MapOptions as MapOptions
from lexiseg_client.calling.retries import Retry as Retry
from lexiseg_client.client import Client as Client
from lexiseg_client.client import Vocabularies as Vocabularies
from lexiseg_client.errors import Busy as Busy
from lexiseg_client.errors import CrossSite as CrossSite
from lexiseg_client.errors import DeadlineExceeded as DeadlineExceeded
from lexiseg_client.errors import FieldError as FieldError
from lexiseg_client.errors import Forbidden as Forbidden
from lexiseg_client.errors import ImageExpired as ImageExpired
from lexiseg_client.errors import ImageNotFetched as ImageNotFetched
from lexiseg_client.errors import InvalidValue as InvalidValue
from lexiseg_client.errors import LexisegError as LexisegError
from lexiseg_client.errors import MalformedRequest as MalformedRequest
from lexiseg_client.errors import MissingLibrary as MissingLibrary
from lexiseg_client.errors import NoMasks as NoMasks
from lexiseg_client.errors import NotAllowed as NotAllowed
from lexiseg_client.errors import NotFound as NotFound
from lexiseg_client.errors import NotOffered as NotOffered
from lexiseg_client.errors import NotReady as NotReady
from lexiseg_client.errors import PreconditionFailed as PreconditionFailed
from lexiseg_client.errors import Problem as Problem
from lexiseg_client.errors import ProblemError as ProblemError
from lexiseg_client.errors import QueueFull as QueueFull
from lexiseg_client.errors import RateLimited as RateLimited
from lexiseg_client.errors import ReadOnly as ReadOnly
from lexiseg_client.errors import ServerFault as ServerFault
from lexiseg_client.errors import SwitchedOff as SwitchedOff
from lexiseg_client.errors import TimedOut as TimedOut
from lexiseg_client.errors import TooLarge as TooLarge
from lexiseg_client.errors import TooSlow as TooSlow
from lexiseg_client.errors import Unauthorized as Unauthorized
from lexiseg_client.errors import UndecodableImage as UndecodableImage
from lexiseg_client.errors import UnknownHost as UnknownHost
from lexiseg_client.errors import UnknownJob as UnknownJob
from lexiseg_client.errors import UnknownModel as UnknownModel
from lexiseg_client.errors import UnknownStream as UnknownStream
from lexiseg_client.errors import UnknownTraining as UnknownTraining
from lexiseg_client.errors import UnknownVocabulary as UnknownVocabulary
from lexiseg_client.errors import Unreachable as Unreachable
from lexiseg_client.errors import UnreadableAnswer as UnreadableAnswer
from lexiseg_client.errors import UnsupportedImage as UnsupportedImage
from lexiseg_client.errors import UnusableImage as UnusableImage
from lexiseg_client.errors import UrlFetchOff as UrlFetchOff
from lexiseg_client.errors import WrongScheme as WrongScheme
from lexiseg_client.folders import LabelledFolder as LabelledFolder
from lexiseg_client.images import ImageId as ImageId
from lexiseg_client.images import ImageLike as ImageLike
from lexiseg_client.images import ImageUrl as ImageUrl
from lexiseg_client.jobs import Job as Job
from lexiseg_client.jobs import JobAnswer as JobAnswer
from lexiseg_client.jobs import Jobs as Jobs
from lexiseg_client.jobs import JobState as JobState
from lexiseg_client.masks.polygons import Ring as Ring
from lexiseg_client.models import Health as Health
from lexiseg_client.models import Model as Model
from lexiseg_client.question.options import Background as Background
from lexiseg_client.question.options import Class as Class
from lexiseg_client.question.options import Classes as Classes
from lexiseg_client.question.options import Options as Options
from lexiseg_client.question.prompts import Example as Example
from lexiseg_client.question.prompts import Point as Point
from lexiseg_client.question.prompts import Prompt as Prompt
from lexiseg_client.question.prompts import Prompts as Prompts
from lexiseg_client.question.vocabulary import Vocabulary as Vocabulary
from lexiseg_client.question.vocabulary import VocabularyOptions as VocabularyOptions
from lexiseg_client.question.vocabulary import VocabularySummary as VocabularySummary
from lexiseg_client.segmentation import Segmentation as Segmentation
from lexiseg_client.segments import AnswerWarning as AnswerWarning
from lexiseg_client.segments import CacheUse as CacheUse
from lexiseg_client.segments import Segment as Segment
from lexiseg_client.segments import Timings as Timings
from lexiseg_client.video import Frame as Frame
from lexiseg_client.video import FrameAnswer as FrameAnswer
from lexiseg_client.video import NewQuestion as NewQuestion
from lexiseg_client.video import StreamOptions as StreamOptions
