"""Systems by name. Adding one is adding a module here that defines `SYSTEM`, and its name below."""

from __future__ import annotations

import difflib
import importlib

from ecumene.core.errors import ConfigurationError
from ecumene.systems.contract import BenchProtocol, PublishedFigure, System

__all__ = ["BenchProtocol", "PublishedFigure", "System", "get_system", "list_systems"]

_MODULES = (
    "unet_small",
    "unet_resnet18",
    "ltae_series",
    "mimo_unet",
    "fc_siam_diff",
    "fc_siam_conc",
    "fc_ef",
    "recnn_lstm",
    "recnn_gru",
    "recnn_fc",
    "ds_unet",
    "ds_unet_stacked",
    "mlp_pixel",
    "random_forest",
    "gradient_boosting",
    "rf_annual_builtup",
    "sen2lcz_net",
    "sen2lcz_net_mf",
    "so2sat_resnext",
    "so2sat_resnext_cbam",
    "so2sat_svm",
    "so2sat_rf",
    "hse_lcz_mtl",
    "eurosat_resnet50",
    "eurosat_googlenet",
    "sen12ms_resnet50",
    "sen12ms_densenet121",
    "sen12ms_resnet50_multi",
    "sen12ms_densenet121_multi",
    "ca_vgg16_bilstm",
    "ca_googlenet_bilstm",
    "ca_resnet50_bilstm",
    "ca_googlenet_lstm",
    "ca_googlenet_none",
    "googlenet_multilabel",
    "attention_cnn",
    "attention_cnn_cbam",
    "attention_cnn_channel",
    "hsi_gru_pretanh",
    "hsi_gru_tanh",
    "hsi_lstm",
    "hsi_cnn",
    "hsi_svm",
    "hsi_rf",
    "hsi_res_conv",
    "urban_da",
    "mmcr_change",
    "contin_urban_cd",
    "balanced_change",
    "dsen2_cr",
    "dsen2_cr_l1",
    "uncrtaints",
    "uncrtaints_mono",
    "uncrtaints_iso",
    "uncrtaints_uni",
    "uncrtaints_local",
    "utae_restoration",
    "cr_ts_net",
    "cgan_cloud_removal",
    "sen12ms_cr_cyclegan",
    "date_blend",
)


def list_systems() -> tuple[System, ...]:
    """Return all systems in the order of the list."""
    return tuple(importlib.import_module(f"ecumene.systems.{name}").SYSTEM for name in _MODULES)


def get_system(name: str) -> System:
    """Return a system by name.

    Raises:
        ConfigurationError: If there is none of that name.
    """
    systems = {system.name: system for system in list_systems()}
    if name not in systems:
        near = difflib.get_close_matches(name, systems, n=3) or sorted(systems)
        raise ConfigurationError(
            f"There is no system {name!r}; did you mean {', '.join(near)}? `ecumene systems` lists all."
        )
    return systems[name]
