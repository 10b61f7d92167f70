"""Image networks of published scene classification: sizes as derived, and what their attention is."""

import json

import pytest

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError, ModelError  # noqa: E402
from ecumene.networks import build_network  # noqa: E402
from ecumene.networks.attention_cnn import GATES  # noqa: E402
from ecumene.networks.initial_weights import describe_start, find_weights  # noqa: E402
from ecumene.networks.trunks import TRUNKS, build_trunk  # noqa: E402

torch.set_num_threads(1)


def weights(network):
    return sum(parameter.numel() for parameter in network.parameters())


def on_meta(name, **arguments):
    with torch.device("meta"):
        return build_network(name, **arguments).eval()


# torchvision's networks with 1000 classes, less the last layer (F * 1000 + 1000), less VGG-16's two hidden layers:
# ResNet-50 25,557,032 - 2,049,000; DenseNet-121 7,978,856 - 1,025,000; GoogLeNet 6,624,904 - 1,025,000 (without
# auxiliary classifiers); VGG-16: 9 a b + b for the 13 convolutions.
TRUNK_SIZES = {
    "resnet50": 23_508_032,
    "densenet121": 6_953_856,
    "googlenet": 5_599_904,
    "vgg16": sum(
        9 * a * b + b
        for a, b in zip(
            (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512),
            (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
            strict=True,
        )
    ),
}
FIRST = {"resnet50": 49 * 64, "densenet121": 49 * 64, "googlenet": 49 * 64, "vgg16": 9 * 64}


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize(("bands", "classes"), [(3, 10), (13, 10), (12, 17)])
def test_scene_cnn_size(trunk, bands, classes):
    network = on_meta("scene-cnn", in_channels=bands, n_outputs=classes, trunk=trunk)
    head = TRUNKS[trunk] * classes + classes
    assert weights(network) == TRUNK_SIZES[trunk] + (bands - 3) * FIRST[trunk] + head
    output, features = network.forward_features(torch.zeros(2, bands, 64, 64, device="meta"))
    assert (tuple(output.shape), tuple(features.shape)) == ((2, classes), (2, TRUNKS[trunk]))


def test_published_sizes():
    """EuroSAT's ResNet-50: 23.53 million; DenseNet-121 of SEN12MS flattens 8 x 8 x 1024 into its last layer."""
    assert weights(on_meta("scene-cnn", in_channels=3, n_outputs=10)) == 23_528_522
    network = on_meta("scene-cnn", in_channels=12, n_outputs=10, trunk="densenet121", input_size=256, pool="flatten")
    assert weights(network) == 6_953_856 + 9 * 3136 + 65_536 * 10 + 10
    assert network.head.in_features == 65_536
    assert tuple(network(torch.zeros(1, 12, 256, 256, device="meta")).shape) == (1, 10)


@pytest.mark.parametrize("trunk", ["resnet50", "googlenet", "vgg16"])
@pytest.mark.parametrize("recurrence", ["bilstm", "lstm", "none"])
def test_class_attention_size(trunk, recurrence):
    """17 labels, 14 x 14 places, hidden size 256; each direction of an LSTM has 4 gates with two biases."""
    labels, places, hidden, width = 17, 196, 256, TRUNKS[trunk]
    direction = 4 * hidden * places + 4 * hidden * hidden + 8 * hidden
    behind = {
        "bilstm": 2 * direction + 2 * hidden * labels + labels,
        "lstm": direction + hidden * labels + labels,
        "none": places * labels + labels,
    }[recurrence]
    network = on_meta("class-attention-rnn", in_channels=3, n_outputs=labels, trunk=trunk, recurrence=recurrence)
    assert weights(network) == TRUNK_SIZES[trunk] + width * labels + labels + behind
    x = torch.zeros(2, 3, 256, 256, device="meta")
    assert tuple(network(x).shape) == (2, labels)
    assert tuple(network.class_attention(x).shape) == (2, labels, 14, 14)
    if (trunk, recurrence) == ("vgg16", "bilstm"):
        assert f"{weights(network):,}" in type(network).__doc__


@pytest.mark.parametrize("gate", GATES)
def test_attention_cnn_size(gate):
    classes, width, hidden, ratio = 7, 2048, 256, 16
    squeeze = 2 * width * (width // ratio) + width // ratio + width
    scored = width * hidden + hidden + hidden + 1
    own = {"softmax": scored, "sigmoid": scored, "channel": squeeze, "spatial": 98, "cbam": squeeze + 98}[gate]
    network = on_meta("attention-cnn", in_channels=3, n_outputs=classes, gate=gate)
    assert weights(network) == TRUNK_SIZES["resnet50"] + width * classes + classes + own
    assert tuple(network.attention(torch.zeros(2, 3, 256, 256, device="meta")).shape) == (2, 1, 14, 14)


@pytest.mark.parametrize("trunk", [name for name in TRUNKS if name != "densenet121"])
def test_fine_maps_have_twice_the_rows_and_the_same_weights(trunk):
    with torch.device("meta"):
        coarse, fine = build_trunk(trunk, 3), build_trunk(trunk, 3, fine=True)
    assert weights(coarse) == weights(fine)
    x = torch.zeros(1, 3, 224, 224, device="meta")
    assert tuple(coarse.eval()(x).shape[2:]) == (7, 7)
    assert tuple(fine.eval()(x).shape[2:]) == (14, 14)
    assert (coarse.reduction, fine.reduction) == (32, 16)


@pytest.fixture(scope="module")
def image():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("gate", GATES)
def test_maps_of_attention_explain_the_logits(gate, image):
    torch.manual_seed(0)
    network = build_network("attention-cnn", in_channels=3, n_outputs=4, trunk="vgg16", gate=gate, input_size=64).eval()
    with torch.inference_mode():
        logits, parts = network(image), network.class_attention(image)
        attention = network.attention(image)
    torch.testing.assert_close(parts.sum(dim=(2, 3)) + network.head.bias, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attention.sum(dim=(2, 3)), torch.ones(2, 1), rtol=1e-4, atol=1e-5)
    assert (attention >= 0).all()


def test_the_order_of_classes_is_part_of_the_recurrence(image):
    """The LSTM forward sees earlier classes only, so that the last map decides nothing but the last logit."""
    torch.manual_seed(0)
    network = build_network(
        "class-attention-rnn", in_channels=3, n_outputs=5, trunk="vgg16", input_size=64, recurrence="lstm", hidden=8
    ).eval()
    both = build_network(
        "class-attention-rnn", in_channels=3, n_outputs=5, trunk="vgg16", input_size=64, recurrence="bilstm", hidden=8
    ).eval()
    none = build_network(
        "class-attention-rnn", in_channels=3, n_outputs=5, trunk="vgg16", input_size=64, recurrence="none"
    ).eval()
    for built, others_change in ((network, False), (both, True), (none, False)):
        with torch.inference_mode():
            before = built(image)
            built.attention.weight[4] += 1.0
            after = built(image)
        assert not torch.equal(before[:, 4], after[:, 4])
        assert torch.equal(before[:, :4], after[:, :4]) != others_change


def test_images_are_resized_as_asked():
    torch.manual_seed(0)
    network = build_network("scene-cnn", in_channels=3, n_outputs=2, trunk="vgg16", input_size=64).eval()
    flat = torch.full((1, 3, 16, 16), 0.7)
    with torch.inference_mode():
        small, large = network(flat), network(torch.full((1, 3, 64, 64), 0.7))
    torch.testing.assert_close(small, large)


def test_weights_from_a_file_or_from_nowhere(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    monkeypatch.setenv("ECUMENE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    arguments = {"in_channels": 5, "n_outputs": 2, "trunk": "vgg16", "input_size": 32}
    torch.manual_seed(0)
    start = build_network("scene-cnn", **arguments, encoder_weights="if-present")  # there are none yet
    assert "random weights, because no ImageNet weights of vgg16" in describe_start(
        {"trunk": "vgg16", "encoder_weights": "if-present"}
    )
    torch.manual_seed(5)
    other = build_trunk("vgg16", 3)
    # The names of a whole network of torchvision, with a head that is not needed.
    state = {f"{name}": tensor.contiguous() for name, tensor in other.state_dict().items()}
    save_file(state | {"classifier.6.bias": torch.zeros(1000)}, tmp_path / "vgg16.safetensors")
    assert find_weights("vgg16") == tmp_path / "vgg16.safetensors"
    torch.manual_seed(0)
    loaded = build_network("scene-cnn", **arguments, encoder_weights="if-present")
    assert torch.equal(loaded.encoder.features[2].weight, other.features[2].weight)
    assert not torch.equal(loaded.encoder.features[2].weight, start.encoder.features[2].weight)
    assert loaded.encoder.features[0].weight.shape == (64, 5, 3, 3)
    said = describe_start({"trunk": "vgg16", "encoder_weights": "if-present"})
    assert "vgg16.safetensors (SHA-256 " in said
    assert str(tmp_path) not in said
    # A bundle brings its own weights: the file is not needed to rebuild the network.
    rebuilt = build_network(
        "scene-cnn", pretrained=False, **json.loads(json.dumps(arguments)), encoder_weights="/nowhere.safetensors"
    )
    assert rebuilt.load_state_dict(loaded.state_dict()).missing_keys == []
    with pytest.raises(ModelError, match="does not exist"):
        build_network("scene-cnn", **arguments, encoder_weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(ModelError, match="same architecture"):
        build_network(
            "scene-cnn",
            in_channels=3,
            n_outputs=2,
            trunk="googlenet",
            encoder_weights=str(tmp_path / "vgg16.safetensors"),
        )
    with pytest.raises(ConfigurationError, match="safetensors file"):
        build_network("scene-cnn", **arguments, encoder_weights="imagenet.pth")


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("scene-cnn", {"trunk": "alexnet"}, "resnet50, densenet121, googlenet, vgg16"),
        ("scene-cnn", {"pool": "flatten", "input_size": None}, "with an input_size"),
        ("scene-cnn", {"dropout": 1.0}, "dropout"),
        ("scene-cnn", {"input_size": 8}, "at least 32"),
        ("class-attention-rnn", {"recurrence": "gru"}, "'bilstm', 'lstm' or 'none'"),
        ("class-attention-rnn", {"input_size": 100}, "multiple of 16"),
        ("class-attention-rnn", {"trunk": "densenet121"}, "choose another trunk"),
        ("attention-cnn", {"gate": "self"}, "softmax, sigmoid, channel, spatial, cbam"),
        ("attention-cnn", {"gate": "channel", "ratio": 5000}, "squeeze ratio"),
    ],
)
def test_wrong_arguments_are_refused_with_a_sentence(name, arguments, sentence):
    with torch.device("meta"), pytest.raises(ConfigurationError, match=sentence):
        build_network(name, in_channels=3, n_outputs=2, **arguments)
