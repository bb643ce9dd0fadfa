"""Roboflow's `/sam3/concept_segment`: `inference_sdk` asks for words and for what boxes show, one result a prompt."""

from lexiseg_service.adapters.roboflow.routes import router as router
