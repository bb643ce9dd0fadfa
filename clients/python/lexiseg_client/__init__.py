"""lexiseg's client: send an image and words, get masks as numpy arrays.

from lexiseg_client import Client

with Client("http://localhost:8000") as client:
    for segment in client.segment("cat.jpg", classes=["cat", "sofa"]):
        print(segment.label, segment.score, segment.mask.sum())
"""

from lexiseg_client.address import __version__
from lexiseg_client.aio import AsyncClient, AsyncVocabularies
from lexiseg_client.calling.mapping import MapOptions
from lexiseg_client.calling.retries import Retry
from lexiseg_client.client import Client, Vocabularies
from lexiseg_client.errors import (
    Busy,
    DeadlineExceeded,
    FieldError,
    Forbidden,
    ImageExpired,
    ImageNotFetched,
    InvalidValue,
    LexisegError,
    MalformedRequest,
    MissingLibrary,
    NoMasks,
    NotAllowed,
    NotFound,
    NotOffered,
    NotReady,
    PreconditionFailed,
    Problem,
    ProblemError,
    QueueFull,
    RateLimited,
    ReadOnly,
    ServerFault,
    TimedOut,
    TooLarge,
    TooSlow,
    Unauthorized,
    UndecodableImage,
    UnknownModel,
    UnknownStream,
    UnknownVocabulary,
    Unreachable,
    UnreadableAnswer,
    UnsupportedImage,
    UnusableImage,
    UrlFetchOff,
)
from lexiseg_client.images import ImageId, ImageLike, ImageUrl
from lexiseg_client.masks.polygons import Ring
from lexiseg_client.models import Health, Model
from lexiseg_client.question.options import Background, Class, Classes, Options
from lexiseg_client.question.prompts import Example, Point, Prompt, Prompts
from lexiseg_client.question.vocabulary import Vocabulary, VocabularyOptions, VocabularySummary
from lexiseg_client.segmentation import Segmentation
from lexiseg_client.segments import AnswerWarning, CacheUse, Segment, Timings
from lexiseg_client.video import Frame, FrameAnswer, NewQuestion, StreamOptions

__all__ = [
    "AnswerWarning",
    "AsyncClient",
    "AsyncVocabularies",
    "Background",
    "Busy",
    "CacheUse",
    "Class",
    "Classes",
    "Client",
    "DeadlineExceeded",
    "Example",
    "FieldError",
    "Forbidden",
    "Frame",
    "FrameAnswer",
    "Health",
    "ImageExpired",
    "ImageId",
    "ImageLike",
    "ImageNotFetched",
    "ImageUrl",
    "InvalidValue",
    "LexisegError",
    "MalformedRequest",
    "MapOptions",
    "MissingLibrary",
    "Model",
    "NewQuestion",
    "NoMasks",
    "NotAllowed",
    "NotFound",
    "NotOffered",
    "NotReady",
    "Options",
    "Point",
    "PreconditionFailed",
    "Problem",
    "ProblemError",
    "Prompt",
    "Prompts",
    "QueueFull",
    "RateLimited",
    "ReadOnly",
    "Retry",
    "Ring",
    "Segment",
    "Segmentation",
    "ServerFault",
    "StreamOptions",
    "TimedOut",
    "Timings",
    "TooLarge",
    "TooSlow",
    "Unauthorized",
    "UndecodableImage",
    "UnknownModel",
    "UnknownStream",
    "UnknownVocabulary",
    "Unreachable",
    "UnreadableAnswer",
    "UnsupportedImage",
    "UnusableImage",
    "UrlFetchOff",
    "Vocabularies",
    "Vocabulary",
    "VocabularyOptions",
    "VocabularySummary",
    "__version__",
]
