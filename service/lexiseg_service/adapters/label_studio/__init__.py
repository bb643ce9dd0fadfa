"""An ML backend for Label Studio: masks for the labels of a project's configuration, and for clicks and boxes."""

from lexiseg_service.adapters.label_studio.routes import router as router
