"""Why a model says what it says: occlusion, gradients, class attention, neurons.

Arrays and a loaded model in, numbers and maps out; no files. What needs a network says so, everything else works for
trees as well.
"""
