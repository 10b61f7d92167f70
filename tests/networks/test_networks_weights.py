import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from ecumene.core.errors import ConfigurationError, ModelError  # noqa: E402
from ecumene.networks import build_network  # noqa: E402
from ecumene.networks.weights import adapt_first_convolution, load_encoder_weights  # noqa: E402

torch.set_num_threads(1)
SMALL = {"n_outputs": 2, "decoder_channels": [16, 8, 8]}


@pytest.fixture(scope="module")
def donor():
    torch.manual_seed(7)
    return build_network("unet", in_channels=3, **SMALL).encoder.state_dict()


@pytest.fixture
def file(donor, tmp_path):
    path = tmp_path / "resnet18.safetensors"
    save_file({**{key: value.contiguous() for key, value in donor.items()}, "fc.weight": torch.zeros(10, 512)}, path)
    return path


def test_same_bands(donor, file):
    network = build_network("unet", in_channels=3, **SMALL)
    result = load_encoder_weights(network, file)
    state = network.encoder.state_dict()
    assert all(torch.equal(state[key], donor[key]) for key in state)
    assert result.adapted is None
    assert result.missing == ()
    assert result.unused == ("fc.weight",)


def test_other_bands_keep_the_response_to_grey(donor, file):
    network = build_network("unet", in_channels=13, encoder_weights=str(file), **SMALL)
    state = network.encoder.state_dict()
    assert tuple(state["conv1.weight"].shape) == (64, 13, 7, 7)
    torch.testing.assert_close(state["conv1.weight"].sum(1), donor["conv1.weight"].sum(1), atol=1e-5, rtol=1e-4)
    assert torch.equal(state["layer1.0.conv1.weight"], donor["layer1.0.conv1.weight"])


def test_fewer_bands_and_prefixes(donor, tmp_path):
    path = tmp_path / "prefixed.safetensors"
    save_file({f"model.{key}": value.contiguous() for key, value in donor.items()}, path)
    result = load_encoder_weights(network := build_network("unet", in_channels=2, **SMALL), path)
    assert result.adapted == "conv1.weight"
    torch.testing.assert_close(network.encoder.state_dict()["conv1.weight"], donor["conv1.weight"][:, :2] * 1.5)


def test_weights_are_not_needed_to_rebuild(tmp_path):
    gone = str(tmp_path / "gone.safetensors")
    with pytest.raises(ModelError, match="does not exist"):
        build_network("unet", in_channels=3, encoder_weights=gone, **SMALL)
    build_network("unet", pretrained=False, in_channels=3, encoder_weights=gone, **SMALL)


def test_scene_classifier_reads_the_same_file(donor, file):
    network = build_network("scene-resnet", in_channels=4, n_outputs=2, encoder_weights=str(file))
    assert torch.equal(network.encoder.state_dict()["layer1.0.conv1.weight"], donor["layer1.0.conv1.weight"])


@pytest.mark.parametrize("old", [1, 3, 4])
@pytest.mark.parametrize("new", [1, 2, 3, 4, 7, 13])
def test_adapting_keeps_the_sum_for_equal_kernels(old, new):
    weight = torch.ones(2, old, 3, 3)
    adapted = adapt_first_convolution(weight, new)
    assert tuple(adapted.shape) == (2, new, 3, 3)
    torch.testing.assert_close(adapted.sum(1), weight.sum(1))


def test_refusals(donor, tmp_path):
    network = build_network("unet", in_channels=3, **SMALL)
    pickle = tmp_path / "weights.pth"
    pickle.write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="safetensors files only"):
        load_encoder_weights(network, pickle)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match="damaged"):
        load_encoder_weights(network, damaged)
    other = tmp_path / "other.safetensors"
    save_file({"conv1.weight": donor["conv1.weight"].contiguous()}, other)
    with pytest.raises(ModelError, match="same architecture"):
        load_encoder_weights(network, other)
    misfit = tmp_path / "misfit.safetensors"
    tensors = {key: value.contiguous() for key, value in donor.items()}
    save_file({**tensors, "layer1.0.conv1.weight": torch.zeros(1, 2, 3, 3)}, misfit)
    with pytest.raises(ModelError, match=r"layer1\.0\.conv1\.weight of shape"):
        load_encoder_weights(network, misfit)
    nan = tmp_path / "nan.safetensors"
    save_file({**tensors, "bn1.weight": torch.full((64,), float("nan"))}, nan)
    with pytest.raises(ModelError, match="not finite"):
        load_encoder_weights(network, nan)
    before = {key: value.clone() for key, value in network.encoder.state_dict().items()}
    with pytest.raises(ModelError):
        load_encoder_weights(network, misfit)
    assert all(torch.equal(before[key], value) for key, value in network.encoder.state_dict().items())
    with pytest.raises(ConfigurationError, match="no encoder"):
        load_encoder_weights(build_network("mlp", in_channels=3, n_outputs=2), misfit)
