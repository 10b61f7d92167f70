"""FC-Siam-conc: change between two dates, Siamese encoder, concatenated skip connections."""

from ecumene.systems._change import fully_convolutional

SYSTEM = fully_convolutional(
    "fc-siam-conc",
    "change between two dates: Siamese encoder, both dates' features in the skip connections",
    "concatenate",
    {"F1": 0.514},
)
