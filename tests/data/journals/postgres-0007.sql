create schema bothost;
create table if not exists bothost.migration (name text primary key not null, applied text not null);
create table bothost.delivery (
    id text collate "C" primary key not null, bot text collate "C" not null, kind text not null, state text not null, door text not null,
    task bigint not null, turn text collate "C", comment bigint not null, step integer not null, due double precision not null,
    fence bigint not null, owner text not null, tries integer not null, seen integer not null, seen_at double precision not null,
    runs integer not null, deaths integer not null, rerun text not null, cancel boolean not null, delivered boolean not null,
    status integer not null, answer bytea, failed boolean not null, error text not null, post_begun double precision not null,
    posted bigint not null, version text not null, trace text not null, ms double precision not null, created double precision not null,
    updated double precision not null, limit_s double precision not null,
    until double precision not null, body bytea, body_at text
) with (fillfactor = 70);
create index d_created on bothost.delivery (created, id);
create index d_bot on bothost.delivery (bot, created);
create index d_open on bothost.delivery (state, created, bot) where state <> 'answered';
create unique index d_turn on bothost.delivery (bot, turn) where state = 'running' and (answer is null or tries = 0);
create index d_running on bothost.delivery (owner) where state = 'running';
create index d_ready on bothost.delivery (bot, due) where state = 'ready' and door = 'api' and answer is null;
create index d_line on bothost.delivery (bot, turn, created) where state = 'ready' and door = 'api' and answer is null;
create index d_post on bothost.delivery (due) where state = 'ready' and door = 'api' and answer is not null;
create index d_posts on bothost.delivery (bot, task, created) where state in ('ready', 'running') and door = 'api' and answer is not null;
create index d_kept on bothost.delivery (bot, created) where state not in ('ready', 'running') and (body is not null or body_at is not null or answer is not null);
create index d_bodies on bothost.delivery (body_at) where body_at is not null;
create index d_quiet on bothost.delivery (due) where door = 'response' and (state = 'ready' or (state = 'answered' and not delivered));
insert into bothost.migration (name, applied) values ('0001 deliveries', '2023-11-14T22:13:20+00:00');
create table bothost.owner (id text primary key not null, boot text not null, lease double precision not null);
create table bothost.control (name text primary key not null, value text not null);
create table bothost.gate (name text primary key not null, tokens double precision not null, at double precision not null);
insert into bothost.migration (name, applied) values ('0002 owners, controls and gates', '2023-11-14T22:13:20+00:00');
drop index bothost.d_running;
create index d_running on bothost.delivery (owner) where state = 'running' and owner <> '';
create index d_suspect on bothost.delivery (owner) where state = 'running' and deaths > 0 and rerun = 'crash' and answer is null;
create index d_parked on bothost.delivery (bot, created) where state = 'ready' and door = 'api' and answer is null;
insert into bothost.migration (name, applied) values ('0003 indexes of owners, suspects and lines', '2023-11-14T22:13:20+00:00');
create table bothost.written (
    bot text collate "C" not null, task bigint not null, comment bigint not null, at double precision not null, primary key (bot, task, comment)
);
create index w_at on bothost.written (at);
insert into bothost.migration (name, applied) values ('0004 comments of handlers', '2023-11-14T22:13:20+00:00');
alter table bothost.delivery add column revision bigint not null default 1;
insert into bothost.migration (name, applied) values ('0005 revisions of deliveries', '2023-11-14T22:13:20+00:00');
create table bothost.value (
    space text collate "C" not null, name text collate "C" not null, value bytea not null, expires double precision not null, primary key (space, name)
);
create index v_expires on bothost.value (expires) where expires > 0;
insert into bothost.migration (name, applied) values ('0006 values of plugins', '2023-11-14T22:13:20+00:00');
alter table bothost.delivery add column history bytea;
insert into bothost.migration (name, applied) values ('0007 histories of deliveries', '2023-11-14T22:13:20+00:00');

insert into bothost.delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:7:comment:1', 'refunds', 'hook', 'answered', 'response', 7, null, 1, 0, 0.0, 0, '', 0, 1, 1700000000.0, 0, 0, '', false, true, 200, '\x7b2274657874223a225c75303433345c7530343330227d', false, '', 0.0, 0, '1.0', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, '\x7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into bothost.delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:8:comment:2', 'refunds', 'hook', 'answered', 'response', 8, '8', 2, 0, 0.0, 0, '', 0, 1, 1700000000.0, 0, 0, '', false, false, 0, '\x7b2274657874223a22796573227d', false, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, '\x7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into bothost.delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:9:comment:3', 'refunds', 'hook', 'ready', 'response', 9, '9', 3, 0, 0.0, 1, '', 0, 1, 1700000000.0, 1, 0, 'error', false, false, 0, null, false, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, '\x7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into bothost.delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:10:comment:4', 'refunds', 'hook', 'ready', 'api', 10, '10', 4, 0, 1700000000.0, 0, '', 0, 1, 1700000000.0, 0, 0, '', false, false, 0, null, false, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, '\x7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into bothost.delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:11:comment:5', 'refunds', 'hook', 'ready', 'api', 11, '11', 5, 0, 1700000000.0, 1, '', 0, 1, 1700000000.0, 0, 0, '', false, false, 0, '\x7b2274657874223a226c617465227d', false, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, '\x7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into bothost.delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:12:comment:6', 'refunds', 'hook', 'running', 'api', 12, '12', 6, 0, 0.0, 1, 'a-host-that-was-killed', 0, 1, 1700000000.0, 1, 0, '', false, false, 0, null, false, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, '\x7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into bothost.delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:13:comment:7', 'refunds', 'hook', 'failed', 'api', 13, '13', 7, 0, 0.0, 0, '', 0, 1, 1700000000.0, 3, 0, '', false, false, 0, null, false, 'ValueError: no
line', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, '\x7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into bothost.delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:14:comment:8', 'refunds', 'hook', 'cancelled', 'response', 14, '14', 8, 0, 0.0, 0, '', 0, 1, 1700000000.0, 0, 0, '', true, false, 0, null, false, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, '\x7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
