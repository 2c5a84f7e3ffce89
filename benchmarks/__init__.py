"""Side by side with what a user would do otherwise: medians, ratios and their spread.

``python -m benchmarks [NAME…]`` runs what ``registry.ROOMS`` lists; README.md says how and why.

A benchmark is one module (a room) with one function ``rows(options) -> Iterator[Row]``, and one
entry in the registry that names its rows, their targets and its sizes. An example, whole::

    # registry.py
    Room(
        "benchmarks.copying",
        (Target("copy/take", 5.0),),                        # direction ">=" unless told: "<="
        {"copy_items": Size(10_000_000, 10_000, "items")},  # becomes --copy-items
    )

    # copying.py
    def rows(options: Options) -> Iterator[Row]:
        values = np.arange(options.size("copy_items"))
        yield compare(
            options, "copy/take",
            ours=lambda: values.copy(),
            peers={"take": lambda: values[np.arange(len(values))]},
            same=np.array_equal,              # asked before anything is timed
            input_bytes=values.nbytes,
        )

Each room runs in a process of its own, so that neither memory nor threads nor warm caches of one
reach another. ``compare`` alternates both sides; what is not a comparison of two timed calls
(memory, bytes, a fresh process that measures itself) makes its Row with ``row_of``.
"""
