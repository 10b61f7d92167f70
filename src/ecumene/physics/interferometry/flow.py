# ruff: noqa: ANN001, ANN201, ANN202 - numba infers the types of compiled functions
"""Minimum-cost flow by successive shortest paths, for graphs whose sources and sinks lie close together.

Ahuja, Magnanti and Orlin, "Network Flows", 1993, section 9.7. Every search starts at a source and stops at the
nearest sink; only the potentials of visited nodes change, so that a close pair costs microseconds however large
the graph is. Exact: no flow has a smaller cost. Arcs have no capacity and cost the same both ways.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray


class Graph(NamedTuple):
    """Arcs of every node: those of node n are `start[n] : start[n + 1]`.

    Attributes:
        start: int64 `[nodes + 1]`.
        head: Node that an arc leads to, int64 `[arcs]`.
        edge: Edge that an arc runs along, int64 `[arcs]`; an edge has two arcs, one a direction.
        direction: 1 where the arc runs along its edge, -1 against it, int64 `[arcs]`.
        tail: Node that an arc starts from, int64 `[arcs]`.
    """

    start: NDArray[np.int64]
    head: NDArray[np.int64]
    edge: NDArray[np.int64]
    direction: NDArray[np.int64]
    tail: NDArray[np.int64]


def make_graph(tails: NDArray[np.int64], heads: NDArray[np.int64], nodes: int) -> Graph:
    """Return the graph of undirected edges between `tails` and `heads`, both int64 `[edges]`."""
    both = np.concatenate([tails, heads])
    order = np.argsort(both, kind="stable")
    start = np.zeros(nodes + 1, np.int64)
    np.cumsum(np.bincount(both, minlength=nodes), out=start[1:])
    edge = np.tile(np.arange(tails.size), 2)[order]
    direction = np.repeat(np.array([1, -1]), tails.size)[order]
    return Graph(start, np.concatenate([heads, tails])[order], edge, direction, both[order])


@numba.njit(cache=True, nogil=True)
def _push(keys, nodes, size, key, node):  # type: ignore[no-untyped-def]
    k = size
    while k > 0:
        parent = (k - 1) >> 1
        if keys[parent] <= key:
            break
        keys[k], nodes[k] = keys[parent], nodes[parent]
        k = parent
    keys[k], nodes[k] = key, node
    return size + 1


@numba.njit(cache=True, nogil=True)
def _pop(keys, nodes, size):  # type: ignore[no-untyped-def]
    size -= 1
    key, node = keys[size], nodes[size]
    k = 0
    while True:
        child = 2 * k + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[k], nodes[k] = keys[child], nodes[child]
        k = child
    keys[k], nodes[k] = key, node
    return size


@numba.njit(cache=True, nogil=True)
def _search(graph, cost, flow, supply, potential, distance, arc_in, done, touched, keys, nodes, source):  # type: ignore[no-untyped-def]
    """Dijkstra with reduced costs from `source` to the nearest node that takes; (that node or -1, touched nodes)."""
    distance[source] = 0.0
    touched[0] = source
    count = 1
    size = _push(keys, nodes, 0, 0.0, source)
    while size > 0:
        key, node = keys[0], nodes[0]
        size = _pop(keys, nodes, size)
        if done[node]:
            continue
        done[node] = True
        if supply[node] < 0:
            return node, count
        for arc in range(graph.start[node], graph.start[node + 1]):
            other = graph.head[arc]
            if done[other]:
                continue
            edge = graph.edge[arc]
            price = -cost[edge] if flow[edge] * graph.direction[arc] < 0 else cost[edge]
            reached = key + max(0.0, price + potential[node] - potential[other])  # rounding only
            if reached < distance[other]:
                if distance[other] == np.inf:
                    touched[count] = other
                    count += 1
                distance[other] = reached
                arc_in[other] = arc
                size = _push(keys, nodes, size, reached, other)
    return -1, count


@numba.njit(cache=True, nogil=True)
def _send(graph, flow, supply, arc_in, source, target):  # type: ignore[no-untyped-def]
    """Send as many units along the found path as its price holds for."""
    units = min(supply[source], -supply[target])
    node = target
    while node != source:
        arc = arc_in[node]
        along = flow[graph.edge[arc]] * graph.direction[arc]
        if along < 0:
            units = min(units, -along)
        node = graph.tail[arc]
    node = target
    while node != source:
        arc = arc_in[node]
        flow[graph.edge[arc]] += units * graph.direction[arc]
        node = graph.tail[arc]
    supply[source] -= units
    supply[target] += units


@numba.njit(cache=True, nogil=True)
def minimum_cost_flow(graph, cost, charge):  # type: ignore[no-untyped-def]
    """Return the cheapest flow that carries every charge away.

    Args:
        graph: Connected `Graph`.
        cost: float64 `[edges]`, of one unit in either direction, >= 0.
        charge: int64 `[nodes]`, units that a node sends (negative: takes); they sum to zero.

    Returns:
        int64 `[edges]`: units along each edge, negative against it.
    """
    count_nodes = charge.size
    flow = np.zeros(cost.size, np.int64)
    supply = charge.copy()
    potential = np.zeros(count_nodes)
    distance = np.full(count_nodes, np.inf)
    arc_in = np.full(count_nodes, -1, np.int64)
    done = np.zeros(count_nodes, np.bool_)
    touched = np.empty(count_nodes, np.int64)
    keys, nodes = np.empty(graph.head.size + 1), np.empty(graph.head.size + 1, np.int64)
    for source in range(count_nodes):
        while supply[source] > 0:
            target, count = _search(
                graph, cost, flow, supply, potential, distance, arc_in, done, touched, keys, nodes, source
            )
            if target < 0:
                return flow
            reach = distance[target]
            _send(graph, flow, supply, arc_in, source, target)
            for k in range(count):
                node = touched[k]
                if done[node]:
                    potential[node] += distance[node] - reach
                distance[node] = np.inf
                done[node] = False
    return flow
