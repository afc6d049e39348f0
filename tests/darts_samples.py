"""Random DARTS cells and per-cell genotypes for property tests, and helpers that several test files share."""

from hypothesis import strategies as st

from distilnas.space.darts import OPS, CellwiseGenotype, DartsCell, Edge, Genotype, parse_genotype


def cells(*, edges: int | None = None, ops: tuple[str, ...] = OPS) -> st.SearchStrategy[DartsCell]:
    """Cells of 1 to 4 nodes with 1 to 3 edges each, or exactly ``edges``."""

    @st.composite
    def draw_cell(draw: st.DrawFn) -> DartsCell:
        nodes = []
        for state in range(2, draw(st.integers(3, 6))):
            pair = st.builds(Edge, op=st.sampled_from(ops), input=st.integers(0, state - 1))
            least, most = (edges, edges) if edges else (1, 3)
            nodes.append(tuple(draw(st.lists(pair, min_size=least, max_size=most, unique=True))))
        states = range(2, len(nodes) + 2)
        read = {edge.input for node in nodes for edge in node}
        left_out = draw(st.sets(st.sampled_from(states))) & read
        return DartsCell(nodes=tuple(nodes), concat=tuple(s for s in states if s not in left_out))

    return draw_cell()


def cellwise(*, least: int = 3, most: int = 8) -> st.SearchStrategy[CellwiseGenotype]:
    """Per-cell genotypes."""
    return st.builds(CellwiseGenotype, cells=st.lists(cells(), min_size=least, max_size=most).map(tuple))


two_edge_cells = cells(edges=2)
genotypes = st.builds(Genotype, normal=two_edge_cells, reduce=two_edge_cells)


def cells_of(text: str) -> tuple[DartsCell, ...]:
    """The cells of a per-cell genotype's text."""
    genotype = parse_genotype(text)
    assert isinstance(genotype, CellwiseGenotype)
    return genotype.cells


def repeated(cell: str, num_cells: int) -> CellwiseGenotype:
    """The per-cell genotype whose cells are all alike."""
    return CellwiseGenotype(cells=cells_of(cell) * num_cells)
