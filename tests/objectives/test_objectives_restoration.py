"""The objective of networks that remove clouds, against formulas and SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.objectives import Members, Restoration, build_objective  # noqa: E402
from ecumene.objectives.restoration_losses import cloud_adaptive_loss, floored, gaussian_pixel_loss  # noqa: E402

BANDS = ("B02", "B03", "B04")


def made(batch=2, side=4, variances=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    output = torch.rand(batch, 3 + variances, side, side, generator=generator) + 0.2
    target = torch.rand(batch, 7, side, side, generator=generator)
    target[:, 6] = (target[:, 6] > 0.5).float()
    return output, target, torch.ones(batch, side, side, dtype=torch.bool)


def test_likelihood_is_that_of_scipy():
    output, target, valid = made()
    objective = Restoration(BANDS, target_std=0.1)
    mean, variance = output[:, :3] * 0.1, output[:, 3:] * 0.01
    expected = [
        -stats.multivariate_normal.logpdf(t.numpy(), m.numpy(), np.diag(v.numpy()))
        for t, m, v in zip(
            target[:, :3].movedim(1, -1).reshape(-1, 3),
            mean.movedim(1, -1).reshape(-1, 3),
            variance.movedim(1, -1).reshape(-1, 3),
            strict=True,
        )
    ]
    # The density of standardised numbers differs by the Jacobian, three times ln 0.1.
    jacobian = 3 * math.log(0.1)
    assert float(objective.loss(output, target, valid)) == pytest.approx(np.mean(expected) - jacobian, rel=1e-4)


def test_isotropic_and_univariate_are_the_diagonal_form_where_they_must_be():
    output, target, valid = made(variances=1)
    isotropic = Restoration(BANDS, covariance="isotropic").loss(output, target, valid)
    repeated = torch.cat((output[:, :3], output[:, 3:].expand(-1, 3, -1, -1)), dim=1)
    diagonal = Restoration(BANDS).loss(repeated, target, valid)
    assert float(isotropic) == pytest.approx(float(diagonal), rel=1e-6)
    univariate = Restoration(BANDS, covariance="univariate").loss(repeated, target, valid)
    assert float(univariate) == pytest.approx(float(diagonal) / 3, rel=1e-6)
    usual = torch.nn.GaussianNLLLoss(full=True)(repeated[:, :3], target[:, :3] / 0.1, repeated[:, 3:])
    assert float(univariate) == pytest.approx(float(usual), rel=1e-4)


def test_the_released_code_weighs_the_determinant_by_the_batch():
    output, target, valid = made(batch=4)
    plain = Restoration(BANDS).loss(output, target, valid)
    quirk = Restoration(BANDS, released_log_determinant=True).loss(output, target, valid)
    determinant = 0.5 * output[:, 3:].log().sum(dim=1).mean()
    assert float(quirk - plain) == pytest.approx(3 * float(determinant), rel=1e-4)


def test_cloud_adaptive_loss_by_hand():
    predicted, target, observed = (
        torch.tensor([[1.0], [2.0]]),
        torch.tensor([[3.0], [5.0]]),
        torch.tensor([[0.0], [9.0]]),
    )
    cloudy = torch.tensor([0.0, 1.0])
    # Clear pixel: |1 - 0|; covered: |2 - 5|; regularisation: (2 + 3) / 2.
    assert float(cloud_adaptive_loss(predicted, target, observed, cloudy)) == pytest.approx((1 + 3) / 2 + 2.5)
    assert float(cloud_adaptive_loss(predicted, target, observed, cloudy, 0.0)) == pytest.approx(2.0)


def test_cloud_adaptive_objective_reads_its_target():
    output, target, valid = made()
    objective = Restoration(BANDS, loss="cloud-adaptive", target_std=1.0)
    p, t, i, m = output[:, :3], target[:, :3], target[:, 3:6], target[:, 6:]
    expected = ((1 - m) * (p - i).abs() + m * (p - t).abs()).mean() + (p - t).abs().mean()
    assert float(objective.loss(output, target, valid)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(("loss", "power"), [("l1", 1), ("l2", 2)])
def test_point_losses(loss, power):
    output, target, valid = made()
    expected = (output[:, :3] - target[:, :3]).abs().pow(power).mean()
    found = Restoration(BANDS, loss=loss, target_std=1.0).loss(output, target, valid)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("loss", ["likelihood", "l1", "l2", "cloud-adaptive"])
def test_unknown_and_invalid_pixels_do_not_matter(loss):
    objective = Restoration(BANDS, loss=loss)
    output, target, valid = made()
    target[0, 1, 0, 0] = float("nan")
    valid[1, 2, 2] = False
    before = objective.loss(output, target, valid)
    changed = output.clone()
    changed[0, :, 0, 0] = float("nan")
    changed[1, :, 2, 2] = 1e9
    changed.requires_grad_()
    after = objective.loss(changed, target, valid)
    assert float(before) == float(after.detach())
    after.backward()
    assert torch.isfinite(changed.grad).all()
    none = objective.loss(output.requires_grad_(), torch.full_like(target, float("nan")), valid)
    none.backward()
    assert float(none.detach()) == 0.0


def test_tiny_variances_stay_finite_and_keep_their_gradient():
    variance = torch.tensor([[0.0, 1e-12]], requires_grad=True)
    loss = gaussian_pixel_loss(torch.zeros(1, 2), variance, torch.ones(1, 2), "diagonal")
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert torch.isfinite(variance.grad).all()
    assert variance.grad.abs().sum() > 0
    assert floored(torch.tensor([2.0])).item() == 2.0


def test_prediction_units_and_recalibration():
    objective = Restoration(BANDS, target_mean=0.5, target_std=0.2)
    output = np.stack([np.full((2, 2), v, np.float32) for v in (1.0, 0.0, -1.0, 4.0, 1.0, 0.25)])[None]
    prediction = objective.predict(output)
    assert prediction.value[0, :, 0, 0] == pytest.approx([0.7, 0.5, 0.3])
    assert prediction.total[0, :, 0, 0] == pytest.approx([0.4, 0.2, 0.1])
    wider = objective.rescaled(4.0).predict(output)
    assert wider.total[0, :, 0, 0] == pytest.approx([0.8, 0.4, 0.2])


def test_members_add_their_spread():
    objective = Members(Restoration(("B02",), target_std=1.0), 2)
    output = np.array([1.0, 0.5, 3.0, 0.5], np.float32).reshape(1, 4, 1, 1)
    prediction = objective.predict(output)
    assert float(prediction.value.ravel()[0]) == pytest.approx(2.0)
    assert float(prediction.total.ravel()[0]) == pytest.approx(math.sqrt(0.5 + 2.0))
    collapsed = objective.base.collapse(objective.base.widen(objective.moments(output), 2))
    again = objective.base.predict(collapsed)
    assert float(again.total.ravel()[0]) == pytest.approx(math.sqrt(2.5))


def test_configuration_survives():
    objective = Restoration(BANDS, loss="cloud-adaptive", covariance="isotropic", clear_weight=0.5)
    again = build_objective(objective.to_config())
    assert again.to_config() == objective.to_config()
    assert (again.n_outputs, again.n_moments) == (4, 9)
    assert again.monitor == ("mae", "min")


@pytest.mark.parametrize("wrong", [{"loss": "gan"}, {"covariance": "full"}, {"clear_weight": -1.0}])
def test_wrong_arguments_are_a_sentence(wrong):
    with pytest.raises(ConfigurationError):
        Restoration(BANDS, **wrong)
