create table if not exists notes (id bigserial primary key, at timestamptz not null default now(), text text not null);
