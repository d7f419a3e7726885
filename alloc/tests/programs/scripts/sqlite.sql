-- SPDX-License-Identifier: MIT
-- Tables, indexes, transactions, common table expressions, window functions,
-- JSON and full-text search.
create table item(id integer primary key, name text, price real, tag text);
create index item_tag on item(tag, price);
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
insert into item select i, 'item ' || hex(i * 7919 % 60013), (i * 31 % 1000) / 8.0,
	'tag' || (i % 97) from n;
commit;
select count(*), sum(price), min(name), max(name) from item;
select tag, count(*), avg(price) from item group by tag order by 3 desc limit 5;
update item set name = name || ' of ' || tag where id % 3 = 0;
delete from item where id % 7 = 0;
select a.id, b.id from item a join item b on b.tag = a.tag
	and b.price > a.price + 120 where a.id < 300 order by a.id, b.id limit 20;
select id, sum(price) over (partition by tag order by id rows 5 preceding)
	from item order by id desc limit 10;
select group_concat(name, '|') from (select name from item order by name limit 50);
create table doc(body text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000)
insert into doc select json_object('id', i, 'list', json_array(i, i * 2, 'x' || i),
	'text', printf('%0*d', i % 200, i)) from n;
select sum(json_extract(body, '$.id')), sum(length(json_extract(body, '$.text'))),
	count(json_extract(body, '$.list[2]')) from doc;
select sum(json_each.value) from doc, json_each(doc.body, '$.list')
	where json_each.type = 'integer';
create virtual table words using fts5(body);
insert into words select name || ' ' || tag from item where id < 20000;
select count(*) from words where words match 'tag1* and not tag11';
select rowid, snippet(words, 0, '[', ']', '…', 6) from words
	where words match 'item tag5' order by rank, rowid limit 5;
savepoint s;
drop table doc;
rollback to s;
select count(*) from doc;
release s;
create table copy as select * from item order by random();
select count(*), sum(id) from copy;
drop table copy;
vacuum;
pragma integrity_check;
