"""The models a shop has trained: which there are, how well they did, and which one is in use on a day."""

from clm_spark.models.registry.fingerprints import fingerprint
from clm_spark.models.registry.registry import HOLDOUT, ModelVersion, Registry

__all__ = ["HOLDOUT", "ModelVersion", "Registry", "fingerprint"]
