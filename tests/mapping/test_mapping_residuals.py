"""A product carries what its model's calibration blocks say, so that areas have error bars without the model."""

from mapping_fakes import make_model, make_stack

from ecumene.mapping import MapOptions, map_stack, open_product
from ecumene.mapping.product import RESIDUALS_PROPERTY
from ecumene.trust.block_residuals import BlockResiduals
from ecumene.trust.calibration import Calibration


def test_the_item_states_the_residuals_of_calibration_blocks(tmp_path):
    residuals = BlockResiduals((0.01,) * 4, (0.1,) * 4, 9, 1e4, (0.0,) * 4, (0.3,) * 4)
    stack = make_stack(64, 64)
    map_stack(stack, make_model(calibration=Calibration(residuals=residuals)), tmp_path / "a", options=MapOptions())
    stated = open_product(tmp_path / "a").properties[RESIDUALS_PROPERTY]
    assert BlockResiduals.from_config(stated) == residuals
    map_stack(stack, make_model(calibration=Calibration()), tmp_path / "b", options=MapOptions())
    assert RESIDUALS_PROPERTY not in open_product(tmp_path / "b").properties
