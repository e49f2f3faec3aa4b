/*
 * net_meter.c - what the server costs: the time of a turn, the memory of the process.
 *
 * Owns: dividing a turn among the causes of stats_latency.h. The clock is read when a
 * turn begins, when it goes over from one cause to another, and when it ends: twice
 * for a turn in which only clients were served. Waiting for events is not counted.
 *
 * Must not know: what the bytes mean.
 *
 * Covered by: t/admin.t.
 */
#include "compat.h"
#include "net_internal.h"

#include <stdio.h>
#include <unistd.h>

void net_meter_begin(struct net_meter *m, int64_t now_us)
{
	*m = (struct net_meter){
	        .begin_us = now_us,
	        .since_us = now_us,
	        .fresh = true,
	        .with_cpu = m->with_cpu,
	        .cpu_begin_us = m->with_cpu ? net_cpu_us() : 0,
	};
}

static void take_time(struct net_meter *m, int64_t now_us)
{
	m->spent_us[m->cause] += (uint64_t)(now_us - m->since_us);
	m->since_us = now_us;
}

void net_meter_cause(struct net_meter *m, enum turn_cause cause)
{
	if (m->cause == cause && !m->fresh)
		return;
	if (!m->fresh)
		take_time(m, net_mono_us());
	m->fresh = false;
	m->cause = cause;
}

void net_meter_end(struct net_meter *m, struct latency *latency, int64_t wall_ms)
{
	take_time(m, net_mono_us());
	latency_record(latency, (uint64_t)(m->since_us - m->begin_us), m->spent_us, wall_ms);
	if (m->with_cpu)
		latency_record_cpu(latency, (uint64_t)(net_cpu_us() - m->cpu_begin_us), m->spent_us);
}

/* Resident bytes of the process; 0 where the system does not say. */
size_t net_resident_bytes(void)
{
	unsigned long size, resident;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file)
		return 0;
	int got = fscanf(file, "%lu %lu", &size, &resident);
	fclose(file);
	return got == 2 ? (size_t)resident * (size_t)sysconf(_SC_PAGESIZE) : 0;
}
