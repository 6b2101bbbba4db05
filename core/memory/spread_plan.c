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
 */
#include "core/memory/spread_inside.h"
#include "core/bridge/bridge.h"

#include <math.h>
#include <string.h>

enum { CLASSES = 64, CLASSES_AN_OCTAVE = 4, FAN_OUT_LEAST = 8 };

/* What of a run is foreseen. */
struct guess {
	double links, nodes, hops;
};

struct mean_field {
	const struct graph_profile *profile;
	enum spread_direction direction;
	double links_all;  /* E */
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

static unsigned class_of(uint32_t activation)
{
	double class = classes_below_one((double)activation / SPREAD_ONE);

	return class < CLASSES ? (unsigned)class : CLASSES - 1;
}

static void field_init(struct mean_field *field, const struct spread_run *run)
{
	const struct graph_profile *profile = &run->graph->profile;
	double all = run->graph->links ? run->graph->links : 1, asked = 0;

	field->profile = profile;
	field->direction = run->params->direction;
	field->links_all = all;
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

/* The links of this hop by class, from its firings. Returns how many. */
static double field_load(struct mean_field *field, const struct spread_run *run, uint32_t fan_out)
{
	double links = 0;

	field->fan_out = fan_out ? fan_out : INFINITY;
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

static double least(double a, double b)
{
	return a < b ? a : b;
}

/* Nodes that L links reach for the first time, after K, and the links that such a node has. */
static double field_reach(const struct mean_field *field, double before, double links,
			  double *onward)
{
	const struct graph_profile *profile = field->profile;
	int in = field->direction == SPREAD_IN, both = field->direction == SPREAD_BOTH;
	double nodes = 0, sum = 0, ends = field->links_all * (both ? 2 : 1);

	for (unsigned i = 0; i < GRAPH_DEGREE_BINS; i++)
		for (unsigned o = 0; o < GRAPH_DEGREE_BINS && profile->in_nodes[i]; o++) {
			double n = profile->nodes[i][o];
			if (n == 0)
				continue;
			double in_mean = (double)profile->in_sum[i] / profile->in_nodes[i];
			double out_mean = (double)profile->out_sum[o] / profile->out_nodes[o];
			double arrive = both ? in_mean + out_mean : in ? out_mean : in_mean;
			double go = both ? least(in_mean, field->fan_out) +
						    least(out_mean, field->fan_out)
				    : in ? least(in_mean, field->fan_out)
					 : least(out_mean, field->fan_out);
			double new =
				n *exp(-before * arrive / ends) * -expm1(-links * arrive / ends);
			nodes += new;
			sum += new *go;
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

static struct guess guess_run(const struct spread_run *run, uint32_t hops_max, uint32_t fan_out)
{
	struct mean_field field;
	double budget = run->params->nodes_max, done = 0;
	struct guess guess = {.links = (double)run->followed, .hops = run->hop};

	for (unsigned p = 0; p < run->partitions; p++)
		done += run->work->partition[p].members_count;
	guess.nodes = done;
	field_init(&field, run);
	double links = field_load(&field, run, fan_out);
	for (unsigned hop = run->hop; hop < hops_max && links >= 0.5; hop++) {
		double onward, passed = links * field.pass_share;
		double reached = field_reach(&field, guess.links, passed, &onward);
		if (guess.nodes + reached > budget) {
			double part = (budget - guess.nodes) / reached;
			guess.links += passed * part;
			guess.nodes = budget;
			guess.hops++;
			return guess;
		}
		guess.links += passed;
		guess.nodes += reached;
		guess.hops++;
		links = field_advance(&field, links, reached, onward);
	}
	return guess;
}

void spread_plan_prior(double prior[PREDICT_FEATURES])
{
	/* Nanoseconds a unit: a run; links by tier of their end; nodes; hops; batches; results. */
	static const double first[PREDICT_FEATURES] = {1500, 3, 5, 8, 8, 300, 500, 60};

	memcpy(prior, first, sizeof(first));
}

static void features(struct spread_run *run, const struct guess *guess, unsigned threads,
		     double out[PREDICT_FEATURES])
{
	const struct graph_profile *profile = &run->graph->profile;
	double all = run->graph->links ? run->graph->links : 1;

	run->guess_links = guess->links;
	out[0] = 1;
	for (unsigned t = 0; t < GRAPH_TIERS; t++)
		out[1 + t] = guess->links * ((double)profile->target_tier[t] / all) / threads;
	out[4] = guess->nodes / threads;
	out[5] = guess->hops;
	out[6] = guess->links / batcher_size(&run->work->batcher) / threads;
	out[7] = least(run->params->limit, guess->nodes);
}

static int fits(struct spread_run *run, uint32_t hops_max, uint32_t fan_out, unsigned threads,
		uint64_t room_ns)
{
	struct guess guess = guess_run(run, hops_max, fan_out);

	features(run, &guess, threads, run->feature);
	run->report->predicted_ns = predictor_predict(&run->spreader->predictor, run->feature);
	return run->report->predicted_ns <= room_ns;
}

/* Smaller fan-outs first, then fewer hops, until it fits or there is nothing left to give up. */
static int narrow(struct spread_run *run, unsigned threads, uint64_t room_ns)
{
	uint32_t fan_out = run->fan_out ? run->fan_out : 1024, hops = run->hops_max;

	while (!fits(run, hops, fan_out, threads, room_ns)) {
		if (fan_out / 2 >= FAN_OUT_LEAST)
			fan_out /= 2;
		else if (hops > 1)
			hops--;
		else
			break;
	}
	if (fan_out == run->fan_out && hops == run->hops_max)
		return 0;
	run->fan_out = fan_out;
	run->hops_max = hops;
	run->report->flags |= SPREAD_NARROWED;
	return 1;
}

int spread_plan(struct spread_run *run)
{
	uint64_t deadline = run->params->deadline_ns;
	struct guess guess = guess_run(run, run->hops_max, run->fan_out);
	struct team *team = run->spreader->team;
	unsigned threads = 1;
	int again = 0;

	run->planned = 1;
	if (team && !run->params->allow && guess.links >= PARALLEL_LINKS && !team_take(team)) {
		run->with_team = 1;
		threads = run->spreader->threads;
		again = 1;
	}
	features(run, &guess, threads, run->feature);
	run->report->predicted_ns = predictor_predict(&run->spreader->predictor, run->feature);
	run->report->threads = threads;
	if (!deadline)
		return again;
	uint64_t now = bridge_now_ns(), room = deadline > now ? deadline - now : 0;
	if (run->report->predicted_ns > room)
		again |= narrow(run, threads, room);
	return again;
}
