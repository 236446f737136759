package main

import (
	"context"
	"strconv"
	"time"

	"go.etcd.io/etcd/clientv3"
)

type etcd struct{ client *clientv3.Client }

func openEtcd(address string) (store, error) {
	// One endpoint each: every member takes requests, and who goes where is the load generator's matter.
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, DialTimeout: 5 * time.Second})
	return etcd{client}, err
}

func (this etcd) get(ctx context.Context, key string) error {
	_, err := this.client.Get(ctx, key)
	return err
}

func (this etcd) put(ctx context.Context, key, value string) error {
	_, err := this.client.Put(ctx, key, value)
	return err
}

func (this etcd) increment(ctx context.Context, key string) error {
	return this.change(ctx, key, func(before string) string {
		number, _ := strconv.Atoi(before)
		return strconv.Itoa(number + 1)
	})
}

func (this etcd) modify(ctx context.Context, key, value string) error {
	return this.change(ctx, key, func(string) string { return value })
}

// change is what etcd's users write: read, and write if nobody wrote meanwhile.
func (this etcd) change(ctx context.Context, key string, to func(string) string) error {
	for {
		found, err := this.client.Get(ctx, key)
		if err != nil {
			return err
		}
		before, revision := "", int64(0)
		if len(found.Kvs) > 0 {
			before, revision = string(found.Kvs[0].Value), found.Kvs[0].ModRevision
		}
		answer, err := this.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
			Then(clientv3.OpPut(key, to(before))).
			Commit()
		if err != nil || answer.Succeeded {
			return err
		}
	}
}

// scan is linearizable, as a read without further options is; etcd answers a range in the order of its keys.
func (this etcd) scan(ctx context.Context, from string, limit int) (int, error) {
	found, err := this.client.Get(ctx, from,
		clientv3.WithRange(clientv3.GetPrefixRangeEnd(*prefix)), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return 0, err
	}
	return len(found.Kvs), nil
}

func (this etcd) number(ctx context.Context, key string) (int, error) {
	found, err := this.client.Get(ctx, key)
	if err != nil || len(found.Kvs) == 0 {
		return 0, err
	}
	return strconv.Atoi(string(found.Kvs[0].Value))
}
