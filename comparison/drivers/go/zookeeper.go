package main

import (
	"context"
	"fmt"
	"io/ioutil"
	"log"
	"strconv"
	"strings"
	"time"

	"github.com/samuel/go-zookeeper/zk"
)

type zookeeper struct{ connection *zk.Conn }

func openZooKeeper(address string) (store, error) {
	quiet := log.New(ioutil.Discard, "", 0)
	connection, events, err := zk.Connect([]string{address}, 10*time.Second,
		zk.WithLogInfo(false), zk.WithLogger(quiet))
	if err != nil {
		return nil, err
	}
	limit := time.After(10 * time.Second)
	for connection.State() != zk.StateHasSession {
		select {
		case <-events:
		case <-limit:
			return nil, fmt.Errorf("%s gives no session", address)
		}
	}
	go func() {
		for range events {
		}
	}()
	path := ""
	for _, part := range strings.Split(strings.Trim(*prefix, "/"), "/") {
		path += "/" + part
		if _, err := connection.Create(path, nil, 0, zk.WorldACL(zk.PermAll)); err != nil && err != zk.ErrNodeExists {
			return nil, err
		}
	}
	return zookeeper{connection}, nil
}

// within gives up waiting; the client itself has no deadline for an operation.
func within(ctx context.Context, action func() error) error {
	done := make(chan error, 1)
	go func() { done <- action() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// get is a sync and then a read: a read alone is what the server has, which may be old.
func (this zookeeper) get(ctx context.Context, key string) error {
	return within(ctx, func() error {
		_, _, err := this.read(key)
		return err
	})
}

func (this zookeeper) read(key string) (string, int32, error) {
	if _, err := this.connection.Sync("/" + key); err != nil {
		return "", 0, err
	}
	value, found, err := this.connection.Get("/" + key)
	if err == zk.ErrNoNode {
		return "", -1, nil
	}
	if err != nil {
		return "", 0, err
	}
	return string(value), found.Version, nil
}

func (this zookeeper) put(ctx context.Context, key, value string) error {
	return within(ctx, func() error {
		_, err := this.connection.Set("/"+key, []byte(value), -1)
		if err == zk.ErrNoNode {
			_, err = this.connection.Create("/"+key, []byte(value), 0, zk.WorldACL(zk.PermAll))
		}
		return err
	})
}

func (this zookeeper) increment(ctx context.Context, key string) error {
	return this.change(ctx, key, func(before string) string {
		number, _ := strconv.Atoi(before)
		return strconv.Itoa(number + 1)
	})
}

func (this zookeeper) modify(ctx context.Context, key, value string) error {
	return this.change(ctx, key, func(string) string { return value })
}

func (this zookeeper) change(ctx context.Context, key string, to func(string) string) error {
	return within(ctx, func() error {
		for ctx.Err() == nil {
			before, version, err := this.read(key)
			if err != nil {
				return err
			}
			if version < 0 {
				_, err = this.connection.Create("/"+key, []byte(to("")), 0, zk.WorldACL(zk.PermAll))
			} else {
				_, err = this.connection.Set("/"+key, []byte(to(before)), version)
			}
			if err != zk.ErrBadVersion && err != zk.ErrNodeExists {
				return err
			}
		}
		return ctx.Err()
	})
}

func (this zookeeper) number(ctx context.Context, key string) (int, error) {
	text, _, err := this.read(key)
	if err != nil || text == "" {
		return 0, err
	}
	return strconv.Atoi(text)
}
