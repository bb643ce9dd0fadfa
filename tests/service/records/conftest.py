"""A Redis that the tests of this folder share."""

from tests.service.batch.conftest import _redis_of_all as _redis_of_all
from tests.service.batch.conftest import shared_redis as shared_redis
from tests.service.batch.conftest import store as store
