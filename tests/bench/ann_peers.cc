// SPDX-License-Identifier: Apache-2.0
// Purpose: hnswlib and faiss as peers of bench_ann, with the settings of the published tables: HNSW
//          M 16, efConstruction 200; IVF 4 sqrt(n) lists, PQ of two dimensions and 4 bits with
//          fast-scan, exact rerank.
extern "C" {
#include "ann_peers.h"
}
#include <cmath>
#include <cstdio>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVFPQFastScan.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexRefine.h>
#include <hnswlib/hnswlib.h>
#include <omp.h>
#include <thread>
#include <vector>

namespace {

struct Hnswlib {
	hnswlib::L2Space space;
	hnswlib::HierarchicalNSW<float> index;
	size_t dim;
	Hnswlib(size_t d, size_t n) : space(d), index(&space, n, 16, 200), dim(d)
	{
	}
};

void *hnswlib_build(const float *base, size_t count, size_t room, size_t dim, unsigned threads)
{
	auto *p = new Hnswlib(dim, count + room);
	std::vector<std::thread> workers;
	p->index.addPoint(base, 0);
	for (unsigned t = 0; t < threads; t++)
		workers.emplace_back([=] {
			for (size_t i = 1 + t; i < count; i += threads)
				p->index.addPoint(base + i * dim, i);
		});
	for (auto &w : workers)
		w.join();
	return p;
}

void hnswlib_search(void *index, const float *query, unsigned k, unsigned effort, unsigned,
		    uint32_t *ids)
{
	auto *p = static_cast<Hnswlib *>(index);
	p->index.setEf(effort);
	auto found = p->index.searchKnn(query, k);
	for (unsigned i = 0; i < k; i++)
		ids[i] = UINT32_MAX;
	for (size_t i = found.size(); i-- > 0; found.pop())
		ids[i] = static_cast<uint32_t>(found.top().second);
}

void hnswlib_add(void *index, const float *vector, uint32_t id)
{
	static_cast<Hnswlib *>(index)->index.addPoint(vector, id);
}

void hnswlib_release(void *index)
{
	delete static_cast<Hnswlib *>(index);
}

size_t hnswlib_bytes(void *index)
{
	auto *p = static_cast<Hnswlib *>(index);
	return p->index.cur_element_count * p->index.size_data_per_element_;
}

struct FaissHnsw {
	faiss::IndexHNSWFlat index;
	FaissHnsw(size_t d) : index(static_cast<int>(d), 16)
	{
		index.hnsw.efConstruction = 200;
	}
};

void *faiss_hnsw_build(const float *base, size_t count, size_t, size_t dim, unsigned threads)
{
	auto *p = new FaissHnsw(dim);
	omp_set_num_threads(static_cast<int>(threads));
	p->index.add(static_cast<faiss::Index::idx_t>(count), base);
	omp_set_num_threads(1);
	return p;
}

void labels_copy(const std::vector<faiss::Index::idx_t> &labels, unsigned k, uint32_t *ids)
{
	for (unsigned i = 0; i < k; i++)
		ids[i] = labels[i] < 0 ? UINT32_MAX : static_cast<uint32_t>(labels[i]);
}

void faiss_hnsw_search(void *index, const float *query, unsigned k, unsigned effort, unsigned,
		       uint32_t *ids)
{
	auto *p = static_cast<FaissHnsw *>(index);
	std::vector<float> distances(k);
	std::vector<faiss::Index::idx_t> labels(k);
	p->index.hnsw.efSearch = static_cast<int>(effort);
	p->index.search(1, query, k, distances.data(), labels.data());
	labels_copy(labels, k, ids);
}

void faiss_hnsw_add(void *index, const float *vector, uint32_t)
{
	static_cast<FaissHnsw *>(index)->index.add(1, vector);
}

void faiss_hnsw_release(void *index)
{
	delete static_cast<FaissHnsw *>(index);
}

size_t faiss_hnsw_bytes(void *index)
{
	auto *p = static_cast<FaissHnsw *>(index);
	return static_cast<size_t>(p->index.ntotal) * p->index.d * 4 +
	       p->index.hnsw.neighbors.size() * sizeof(p->index.hnsw.neighbors[0]) +
	       p->index.hnsw.offsets.size() * 8;
}

struct FaissIvf {
	faiss::IndexFlatL2 coarse;
	faiss::IndexIVFPQFastScan ivf;
	faiss::IndexRefineFlat refine;
	FaissIvf(size_t d, size_t lists)
	    : coarse(static_cast<faiss::Index::idx_t>(d)), ivf(&coarse, d, lists, (d + 1) / 2, 4),
	      refine(&ivf)
	{
	}
};

void *faiss_ivf_build(const float *base, size_t count, size_t, size_t dim, unsigned threads)
{
	if (dim % 2)
		return nullptr;
	auto *p = new FaissIvf(dim, static_cast<size_t>(4 * std::sqrt(static_cast<double>(count))));
	omp_set_num_threads(static_cast<int>(threads));
	p->refine.train(static_cast<faiss::Index::idx_t>(count), base);
	p->refine.add(static_cast<faiss::Index::idx_t>(count), base);
	omp_set_num_threads(1);
	return p;
}

void faiss_ivf_search(void *index, const float *query, unsigned k, unsigned effort, unsigned rerank,
		      uint32_t *ids)
{
	auto *p = static_cast<FaissIvf *>(index);
	std::vector<float> distances(k);
	std::vector<faiss::Index::idx_t> labels(k);
	p->ivf.nprobe = effort;
	p->refine.k_factor = static_cast<float>(rerank);
	p->refine.search(1, query, k, distances.data(), labels.data());
	labels_copy(labels, k, ids);
}

void faiss_ivf_add(void *index, const float *vector, uint32_t)
{
	static_cast<FaissIvf *>(index)->refine.add(1, vector);
}

void faiss_ivf_release(void *index)
{
	delete static_cast<FaissIvf *>(index);
}

size_t faiss_ivf_bytes(void *index)
{
	auto *p = static_cast<FaissIvf *>(index);
	size_t n = static_cast<size_t>(p->refine.ntotal), d = static_cast<size_t>(p->refine.d);
	return n * (d * 4 + d / 4 + 8) + p->ivf.nlist * d * 4;
}

const unsigned graph_efforts[] = {10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 480, 640, 960, 1400, 2000, 0};
const unsigned one[] = {1, 0};
const unsigned ivf_efforts[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 0};
const unsigned ivf_reranks[] = {2, 4, 8, 16, 32, 0};

} // namespace

extern "C" const struct ann_peer ann_peers[] = {
	{"hnswlib", hnswlib_build, hnswlib_search, hnswlib_add, hnswlib_release, hnswlib_bytes,
	 graph_efforts, one},
	{"faiss HNSW", faiss_hnsw_build, faiss_hnsw_search, faiss_hnsw_add, faiss_hnsw_release,
	 faiss_hnsw_bytes, graph_efforts, one},
	{"faiss IVF PQ4 fast-scan", faiss_ivf_build, faiss_ivf_search, faiss_ivf_add,
	 faiss_ivf_release, faiss_ivf_bytes, ivf_efforts, ivf_reranks},
	{},
};
