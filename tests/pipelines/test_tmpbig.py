from test_large_data import *
def test_big(tmp_path):
    paths = sparse_arrays(tmp_path, 32_768, 65_536)
    t = time.time(); peak = peak_memory(partial(train, tmp_path / "run", paths))
    raise AssertionError(f"PEAK {peak/1e9} in {time.time()-t}")
