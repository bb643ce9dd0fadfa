"""X-AnyLabeling's remote server: `server_url` is /adapters/x-anylabeling, the key is its `api_key`."""

from lexiseg_service.adapters.x_anylabeling.routes import router as router
