"""What a computation will cost, as a table for people and as a dict for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from overspill.planning.footprint import PROCESS_NBYTES
from overspill.planning.matmul_plan import MatmulPlan
from overspill.planning.passes import Passes
from overspill.planning.sparse import SparseProduct
from overspill.planning.spilling import Spilling
from overspill.units import format_nbytes, format_rate, format_seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """The cost of computing an array, known before it runs.

    Attributes
    ----------
    shape, dtype, nbytes
        Of the array.
    residence
        Where its chunks will live: ``"host"`` or ``"device"``.
    tasks
        Tasks in its graph that it needs, before Dask fuses any.
    workers
        Processes that the plan counts on.
    products
        The plans of the matrix products in the graph, of the tiles that are needed, their operands made.
    passes
        The plan of everything else: elementwise work, reductions, re-layouts.
    persisted
        Chunks that exist at a time, and where they find room, when the result is persisted: all of it is kept.
    saved
        The same when each chunk of the result is used up as it is made, as `overspill.save` does.
    unsized_tasks
        Tasks whose result is of a size that the graph does not tell, and taken to be as large as their largest input.
    sparse_products
        Products with sparse matrices, of the tasks that are needed; what these move and take is in `passes` too.
    network
        What carries chunks between GPUs, and why; empty where the workers have none.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> plan = osp.plan(osp.matmul(da.ones((300, 200), chunks=100), da.ones((200, 100), chunks=100)))
    >>> plan.shape, plan.flop, plan.to_dict()["residence"]
    ((300, 100), 12000000, 'host')
    """

    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    residence: str
    tasks: int
    workers: int
    products: tuple[MatmulPlan, ...]
    passes: Passes
    persisted: Spilling
    saved: Spilling
    unsized_tasks: int
    sparse_products: tuple[SparseProduct, ...] = ()
    network: str = ""

    @property
    def flop(self) -> int:
        """Operations of all products."""
        return sum(product.flop for product in self.products)

    @property
    def predicted_s(self) -> float:
        """Seconds of all products and of everything else, one after the other; nothing spilled, nothing saved."""
        return self.passes.predicted_s + sum(product.predicted_s for product in self.products)

    @property
    def saving_s(self) -> float:
        """The same, with the seconds that it takes to write the array to disk."""
        return self.predicted_s + self.passes.write_s

    @property
    def peak_device_nbytes(self) -> int:
        """Most bytes on one GPU of a product's stream buffers, or of other tasks that run at a time."""
        return max([self.passes.device_nbytes, *(product.peak_device_nbytes for product in self.products)])

    @property
    def driver_nbytes(self) -> int:
        """What cuBLAS and the driver take on one GPU beside a product's buffers, its context apart."""
        return max((product.driver_nbytes for product in self.products), default=0)

    @property
    def fetched_nbytes(self) -> int:
        """Copies on one GPU of chunks that lie on others, while a product needs them."""
        return max((product.fetched_nbytes for product in self.products), default=0)

    @property
    def peak_host_nbytes(self) -> int:
        """Most host memory of all processes, if the result is persisted.

        Either as if all products held theirs at once, or, if there is more than products, the chunks in host memory
        that exist at a time and what tasks need besides: whichever is more.
        """
        return self._peak_host_nbytes(self.persisted)

    def _peak_host_nbytes(self, room: Spilling) -> int:
        processes = PROCESS_NBYTES * (self.workers + 1)
        products = sum(product.peak_host_nbytes - processes for product in self.products)
        chunks = room.in_host_nbytes + self.passes.temporary_nbytes if self.passes.tasks else 0
        return processes + max(products, chunks)

    @property
    def warnings(self) -> list[str]:
        """Chunks and tasks larger than the memory of one worker, in words."""
        return list(dict.fromkeys(self.persisted.warnings() + self.saved.warnings()))

    def to_dict(self) -> dict[str, Any]:
        """Everything the plan knows, in plain numbers and strings."""
        return asdict(self) | {
            "flop": self.flop,
            "predicted_s": self.predicted_s,
            "peak_device_nbytes": self.peak_device_nbytes,
            "driver_nbytes": self.driver_nbytes,
            "fetched_nbytes": self.fetched_nbytes,
            "peak_host_nbytes": self.peak_host_nbytes,
            "warnings": self.warnings,
            "advice": self.passes.advice,
        }

    def rows(self, *, only_saved: bool = False) -> list[tuple[str, str]]:
        """The plan as (what, how much) pairs for people; `only_saved` leaves out what persisting would take."""
        shape = " × ".join(map(str, self.shape)) or "scalar"
        rows = [
            ("result", f"{shape} {self.dtype}, {format_nbytes(self.nbytes)}, on the {self.residence}"),
            ("tasks", f"{self.tasks} in the graph, {self.workers} worker{'s' * (self.workers != 1)}"),
        ]
        if self.network:
            rows.append(("GPU to GPU", self.network))
        if only_saved or self.persisted == self.saved:
            rows.extend(self.saved.rows("memory"))
        else:
            rows.extend(self.persisted.rows("if persisted") + self.saved.rows("if saved"))
        warnings = self.saved.warnings() if only_saved else self.warnings
        rows.extend(("  warning", text) for text in warnings)
        if self.unsized_tasks:
            rows.append(("  assumed", f"results of {self.unsized_tasks} tasks as large as their largest input"))
        for index, product in enumerate(self.products):
            name = f"product {index + 1}" if len(self.products) > 1 else "product"
            rows.append((name, _describe_shape(product)))
            rows.extend(_describe(product))
        rows.extend(row for product in self.sparse_products for row in product.rows())
        rows.extend(self.passes.rows())
        if self.products or self.passes.tasks:
            host = self._peak_host_nbytes(self.saved if only_saved else self.persisted)
            rows.append(("peak memory", _peaks(self, host)))
            rows.append(("predicted", _describe_time(self)))
        return rows

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _describe_shape(product: MatmulPlan) -> str:
    m, n, k = sum(product.rows), sum(product.columns), sum(product.panels)
    return f"{m} × {k} by {k} × {n} {product.dtype}, {format_rate(product.flop, 'FLOP')}"


def _describe(product: MatmulPlan) -> list[tuple[str, str]]:
    kept = {True: "held in tiles", False: "streamed by each task"}
    fits = {True: "fits the tile budget", False: "exceeds the tile budget: save or reduce it block by block"}
    whole = len(product.rows) * len(product.columns)
    needed = f"{product.tasks} needed of {whole}" if product.tasks < whole else f"{whole}"
    tiles = f"{needed} of {max(product.rows)} × {max(product.columns)}"
    count = len(product.panels)
    panels = f"K in {count} panels of {max(product.panels)}" if count > 1 else "K in one panel"
    up, down = format_nbytes(product.uploaded_nbytes), format_nbytes(product.downloaded_nbytes)
    rows = [
        ("  side", f"{'CuPy' if product.side == 'cupy' else 'NumPy'}: {product.reason}"),
        ("  tiles", f"{tiles}, {panels}, row by row"),
        ("  operands", f"A {kept[product.hold_a]}, B {kept[product.hold_b]}"),
        ("  result", fits[product.hold_result]),
        ("  to devices", f"{up} of panels, {down} back"),
    ]
    if product.read_nbytes:
        rows.append(("  from disk", f"{format_nbytes(product.read_nbytes)} inside the tasks"))
    if product.recomputed_nbytes:
        rows.append(("  recomputed", f"{format_nbytes(product.recomputed_nbytes)} inside the tasks"))
    return rows


def _peaks(plan: Plan, host_nbytes: int) -> str:
    said = f"{format_nbytes(host_nbytes)} of host memory"
    if not plan.peak_device_nbytes:
        return said
    besides = [
        f"{format_nbytes(nbytes)} {what}"
        for nbytes, what in ((plan.driver_nbytes, "of the driver's"), (plan.fetched_nbytes, "from other GPUs"))
        if nbytes
    ]
    return " and ".join([f"{said}, {format_nbytes(plan.peak_device_nbytes)} on each GPU", *besides])


def _describe_time(plan: Plan) -> str:
    said = [_describe_product_time(plan.products)] if plan.products else []
    if plan.passes.tasks:
        said.append(f"the passes {plan.passes.seconds}" if said else plan.passes.seconds)
    figures = [product.figures for product in plan.products] + [plan.passes.figures] * bool(plan.passes.tasks)
    return "; ".join([*said, f"from {', '.join(dict.fromkeys(figures))}"])


def _describe_product_time(products: Sequence[MatmulPlan]) -> str:
    bounds = " and ".join(dict.fromkeys(product.bound for product in products))
    prepare_s = sum(product.prepare_s for product in products)
    product_s = sum(product.predicted_s for product in products) - prepare_s
    made = f"{format_seconds(prepare_s)} to make the operands, then " if prepare_s else ""
    rate = format_rate(sum(product.flop for product in products) / product_s, "FLOP/s")
    return f"{made}{format_seconds(product_s)} ({rate}), bound by {bounds}"
