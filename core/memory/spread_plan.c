/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   foresees a spread from its first firings, so that one which would miss its deadline is
 *            narrowed before it is made.
 *
 *   The estimate follows the hops with mean values. A hop's links are spread over classes of what they
 *   carry (quarters of an octave below 1.0). With K links followed before and L in this hop, of a
 *   class of nodes with in-degree d, each node is reached with 1 - exp(-L d / E) if it was not
 *   before, exp(-K d / E), where E are all links: the occupancy of cells chosen in proportion
 *   to their degree. Of those that are reached the part becomes active that the weights of the graph
 *   and the threshold let through; each of these brings the links of its class, at most the fan-out.
 *   Sums over several links into one node are left out: the regression learns what that costs.
 *
 *   What a run takes per link varies by a third on a machine that others use too. What this one took up
 *   to the plan, against what such a beginning takes usually, says more of that than the last runs
 *   do: the cube root of it goes into the rest.
 */
#include "core/memory/spread_inside.h"
#include "core/bridge/bridge.h"

#include <math.h>
#include <string.h>

enum { CLASSES = 64, CLASSES_AN_OCTAVE = 4, FAN_OUT_LEAST = 8 };

/* What of a run is foreseen. */
struct guess {
	double links, nodes, hops;
	double active; /* nodes that fire */
	double sorted; /* firings that the budget makes sort */
};

/* The nodes of a bin of in- or of out-degrees, as the direction has it: how many of E's ends one has, how
 * many links it leads on by, and, for one hop, that none reached it before, and that none does now. */
struct bin {
	double ends, onward;
	double before, now;
};

struct mean_field {
	const struct graph_profile *profile;
	enum spread_direction direction;
	struct bin in[GRAPH_DEGREE_BINS], out[GRAPH_DEGREE_BINS];
	double links_all;  /* E, of both ends where both are followed */
	double pass_share; /* links of a type asked for */
	double fan_out;    /* or infinity */
	double weight_class[GRAPH_WEIGHT_BINS], weight_share[GRAPH_WEIGHT_BINS];
	double decay_class, threshold_class;
	double mass[CLASSES]; /* links of this hop by what they carry */
};

static double classes_below_one(double value)
{
	return value > 0 ? -CLASSES_AN_OCTAVE * log2(value) : CLASSES;
}

/* The same of what a firing passes on, 1 .. SPREAD_ONE, without a logarithm. */
static unsigned class_of(uint32_t activation)
{
	static const uint32_t quarters[] = {2553802834, 3037000500, 3611622603}; /* 2^31.25, ... */
	unsigned zeros = (unsigned)__builtin_clz(activation);
	uint32_t part = activation << zeros;
	unsigned class = CLASSES_AN_OCTAVE * (zeros - 1);

	for (int i = 0; i < 3; i++)
		class -= class && part >= quarters[i];
	class -= class != 0;
	return class < CLASSES ? class : CLASSES - 1;
}

static void field_init(struct mean_field *field, const struct spread_run *run)
{
	const struct graph_profile *profile = &run->graph->profile;
	double all = run->graph->links ? run->graph->links : 1, asked = 0;

	field->profile = profile;
	field->direction = run->params->direction;
	field->links_all = all * (field->direction == SPREAD_BOTH ? 2 : 1);
	for (unsigned t = 0; t < GRAPH_TYPES; t++)
		if (run->params->types >> t & 1)
			asked += (double)profile->type[t];
	field->pass_share = asked / all;
	for (unsigned b = 0; b < GRAPH_WEIGHT_BINS; b++) {
		field->weight_class[b] = classes_below_one((b + 0.5) / GRAPH_WEIGHT_BINS);
		field->weight_share[b] = (double)profile->weight[b] / all;
	}
	field->decay_class = classes_below_one((double)run->keep / GRAPH_WEIGHT_ONE);
	field->threshold_class = classes_below_one((double)run->threshold / SPREAD_ONE);
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

/* A link out of a bin's nodes is an end at the other's: where links are followed out, those in count. */
static void field_bins(struct mean_field *field)
{
	const struct graph_profile *profile = field->profile;
	int out_too = (field->direction & SPREAD_OUT) != 0, in_too = field->direction & SPREAD_IN;

	for (unsigned b = 0; b < GRAPH_DEGREE_BINS; b++) {
		double in = profile->in_nodes[b] ? (double)profile->in_sum[b] / profile->in_nodes[b]
						 : 0;
		double out = profile->out_nodes[b]
				     ? (double)profile->out_sum[b] / profile->out_nodes[b]
				     : 0;
		field->in[b] = (struct bin){.ends = out_too ? in : 0,
					    .onward = in_too ? least(in, field->fan_out) : 0};
		field->out[b] = (struct bin){.ends = in_too ? out : 0,
					     .onward = out_too ? least(out, field->fan_out) : 0};
	}
}

/* The links of this hop by class, from its firings. Returns how many. */
static double field_load(struct mean_field *field, const struct spread_run *run, uint32_t fan_out)
{
	double links = 0;

	field->fan_out = fan_out ? fan_out : INFINITY;
	field_bins(field);
	memset(field->mass, 0, sizeof(field->mass));
	for (unsigned s = 0; s < run->spans; s++)
		for (uint32_t i = 0; i < run->span[s].count; i++) {
			const struct firing *firing = &run->span[s].list[i];
			double extent = firing->count;
			double most = field->fan_out * (field->direction == SPREAD_BOTH ? 2 : 1);
			extent = extent < most ? extent : most;
			field->mass[class_of(firing->fire)] += extent;
			links += extent;
		}
	return links;
}

/* What links that were followed leave of the bins. */
static void bins_reach(const struct mean_field *field, struct bin *bins, double before,
		       double links)
{
	for (unsigned b = 0; b < GRAPH_DEGREE_BINS; b++) {
		double part = bins[b].ends / field->links_all;
		bins[b].before = part > 0 ? exp(-before * part) : 1;
		bins[b].now = part > 0 ? exp(-links * part) : 1;
	}
}

/* Nodes that L links reach for the first time, after K, and the links that such a node has. */
static double field_reach(struct mean_field *field, double before, double links, double *onward)
{
	const struct graph_profile *profile = field->profile;
	double nodes = 0, sum = 0;

	bins_reach(field, field->in, before, links);
	bins_reach(field, field->out, before, links);
	for (unsigned i = 0; i < GRAPH_DEGREE_BINS; i++)
		for (unsigned o = 0; o < GRAPH_DEGREE_BINS && profile->in_nodes[i]; o++) {
			const struct bin *in = &field->in[i], *out = &field->out[o];
			double new = profile->nodes[i][o] * in->before *
				     out->before *(1 - in->now * out->now);
			nodes += new;
			sum += new *(in->onward + out->onward);
		}
	*onward = nodes > 0 ? sum / nodes : 0;
	return nodes;
}

/* Replaces the classes by those of the next hop, which `nodes` reached bring. Returns its links. */
static double field_advance(struct mean_field *field, double links, double nodes, double onward)
{
	double next[CLASSES] = {0}, sum = 0;
	double scale = links > 0 ? nodes / links * onward : 0;

	for (unsigned c = 0; c < CLASSES; c++) {
		if (field->mass[c] == 0)
			continue;
		for (unsigned b = 0; b < GRAPH_WEIGHT_BINS; b++) {
			double to = c + 0.5 + field->weight_class[b];
			if (to > field->threshold_class)
				continue;
			double mass = field->mass[c] * field->weight_share[b] * scale;
			unsigned class = (unsigned)(to + field->decay_class);
			next[class < CLASSES ? class : CLASSES - 1] += mass;
			sum += mass;
		}
	}
	memcpy(field->mass, next, sizeof(next));
	return sum;
}

/* What is behind the run when its first firings of this hop are known. */
static struct guess guess_begun(const struct spread_run *run)
{
	struct guess begun = {.links = (double)run->followed, .hops = run->hop};

	for (unsigned p = 0; p < run->partitions; p++)
		begun.nodes += run->work->partition[p].members_count;
	for (unsigned s = 0; s < run->spans; s++)
		begun.active += run->span[s].count;
	return begun;
}

static struct guess guess_run(const struct spread_run *run, uint32_t hops_max, uint32_t fan_out)
{
	struct mean_field field;
	double budget = run->params->nodes_max;
	struct guess guess = guess_begun(run);

	field_init(&field, run);
	double links = field_load(&field, run, fan_out);
	for (unsigned hop = run->hop; hop < hops_max && links >= 0.5; hop++) {
		double onward, passed = links * field.pass_share;
		double reached = field_reach(&field, guess.links, passed, &onward);
		if (guess.nodes + reached > budget) {
			double part = (budget - guess.nodes) / reached;
			guess.links += passed * part;
			guess.nodes = budget;
			guess.sorted = guess.active;
			guess.hops++;
			return guess;
		}
		guess.links += passed;
		guess.nodes += reached;
		guess.hops++;
		links = field_advance(&field, links, reached, onward);
		if (onward > 0)
			guess.active += links / onward;
	}
	return guess;
}

void spread_plan_prior(double prior[PREDICT_FEATURES])
{
	/* Nanoseconds a unit: a run; links by tier of their end; nodes; nodes that fire; hops; nodes
	 * that are sorted; results. */
	static const double first[PREDICT_FEATURES] = {1500, 3,  5,  8,   5,  8, 12,
						       10,   15, 20, 300, 30, 60};

	memcpy(prior, first, sizeof(first));
}

/* Of what is guessed beyond what is behind the run. */
static void features(const struct spread_run *run, const struct guess *guess,
		     const struct guess *behind, unsigned threads, double out[PREDICT_FEATURES])
{
	const struct graph_profile *profile = &run->graph->profile;
	double all = run->graph->links ? run->graph->links : 1;

	out[0] = 1;
	for (unsigned t = 0; t < GRAPH_TIERS; t++) {
		double share = (double)profile->target_tier[t] / all / threads;
		out[1 + t] = (guess->links - behind->links) * share;
		out[4 + t] = (guess->nodes - behind->nodes) * share;
		out[7 + t] = (guess->active - behind->active) * share;
	}
	out[10] = guess->hops - behind->hops;
	out[11] = guess->sorted;
	out[12] = least(run->params->limit, guess->active);
}

/* Predicts the run with these parameters. `again`: from its beginning. */
static void predict(struct spread_run *run, uint32_t hops_max, uint32_t fan_out, unsigned threads,
		    int again)
{
	struct guess guess = guess_run(run, hops_max, fan_out), behind = {0};
	struct spread_report *report = run->report;

	if (!again)
		behind = guess_begun(run);
	features(run, &guess, &behind, threads, run->feature);
	run->guess_links = guess.links;
	double rest = run->pace * predictor_predict(&run->spreader->predictor, run->feature);
	report->predicted_ns = report->planned_ns + (uint64_t)rest;
}

/* How fast is this run, against what such a beginning takes usually? */
static void pace(struct spread_run *run)
{
	const struct guess begun = guess_begun(run), nothing = {0};

	run->report->planned_ns = spread_work(run);
	features(run, &begun, &nothing, 1, run->begun);
	run->begun[12] = 0; /* results come at the end */
	double usual = predictor_predict(&run->spreader->predictor_begun, run->begun);
	double ratio = (double)run->report->planned_ns / usual;
	run->pace = cbrt(ratio < 0.5 ? 0.5 : ratio > 2 ? 2 : ratio);
}

/* Smaller fan-outs first, then fewer hops, until it fits or there is nothing left to give up. Says as
 * spread_plan() whether the run begins again; `again`: it does anyway. */
static int narrow(struct spread_run *run, int again, uint64_t room_ns)
{
	uint32_t fan_out = run->fan_out ? run->fan_out : 1024, hops = run->hops_max;
	const unsigned threads = run->report->threads;

	for (;;) {
		predict(run, hops, fan_out, threads, 1);
		if (run->report->predicted_ns - run->report->planned_ns <= room_ns)
			break;
		if (fan_out / 2 >= FAN_OUT_LEAST)
			fan_out /= 2;
		else if (hops > 1)
			hops--;
		else
			break;
	}
	if (fan_out == run->fan_out && hops == run->hops_max) {
		predict(run, hops, fan_out, threads, again);
		return again;
	}
	run->fan_out = fan_out;
	run->hops_max = hops;
	run->report->flags |= SPREAD_NARROWED;
	return 1;
}

int spread_plan(struct spread_run *run)
{
	uint64_t deadline = run->params->deadline_ns;
	struct team *team = run->spreader->team;
	struct spread_report *report = run->report;
	int again = 0;

	run->planned = 1;
	report->threads = 1;
	pace(run);
	predict(run, run->hops_max, run->fan_out, 1, 0);
	if (team && !run->params->allow && run->guess_links >= PARALLEL_LINKS && !team_take(team)) {
		run->with_team = again = 1;
		report->threads = run->spreader->threads;
		predict(run, run->hops_max, run->fan_out, report->threads, again);
	}
	if (!deadline)
		return again;
	uint64_t now = bridge_now_ns(), room = deadline > now ? deadline - now : 0;
	if (report->predicted_ns - report->planned_ns > room)
		again = narrow(run, again, room);
	return again;
}
