"""The words the classifier knows, one table per idea, English and simplified Chinese together.

Terms are separated by commas. An English term matches whole words, a Chinese one anywhere; the plural s of a last
English word need not be listed, and hyphens, spaces and apostrophes between words are all one. Of several terms that
begin at one place the longest wins; so an idiom ("branch office") takes the word in it ("branch") out of play.
"""

from __future__ import annotations

# Words that hardly occur outside software.
CODE = """
async/await, async, sdk, diff, the ci, flash attention, dataloader, borrow checker, won't compile,
doesn't compile, does not compile, compile, compiles, stacktraces, commit hash, dataclass,
list comprehension, linked list, binary tree, hash map, hashmap, test case, mutex,
dependency injection, state machine, command-line, dev server, hot reload, npm package, python package,
vuejs, express.js, usestate, useeffect, pandas, pydantic, celery, gunicorn, caddy, traefik, haproxy,
jenkins, circleci, argocd, vercel, netlify, supabase, firebase, traceback, stack trace, stacktrace,
regex, regexp, unit test, integration test, test suite, failing test, flaky test, test coverage,
pull request, merge request, merge conflict, refactor, refactoring, rebase, cherry-pick, cherry pick,
squash, monorepo, repo, repository, codebase, code base, source code, code review, dead code,
type hint, typing error, eslint, prettier, mypy, ruff, pylint, flake8, pytest, jest, vitest, mocha,
cypress, playwright, selenium, typescript, javascript, webpack, vite, rollup, babel, npm, pnpm, yarn,
pip, poetry, cargo, cmake, makefile, gradle, dockerfile, docker compose, docker-compose, docker,
kubernetes, k8s, kubectl, helm chart, terraform, ansible, nginx, graphql, grpc, protobuf, endpoint,
middleware, sql, postgres, postgresql, mysql, sqlite, mongodb, redis, kafka, rabbitmq, elasticsearch,
null pointer, nullpointer, segfault, segmentation fault, callback hell, github action, gitlab ci,
ci pipeline, ci/cd, on ci, in ci, ci job, ci workflow, spring boot, springboot, django, fastapi,
laravel, rails, numpy, nextjs, next.js, node.js, nodejs, three.js, vue, vuex, pinia, svelte, tailwind,
css, html, tsconfig, frontend, front-end, backend, back-end, memory leak, race condition, deadlock,
off-by-one, stored procedure, foreign key, n+1, feature flag, chrome extension, browser extension,
userscript, apps script, vba, powershell, bash script, shell script, python script, cron script,
cron job, crontab, systemd, env var, environment variable, type error, syntax error, compile error,
compiler, linter, codemod, stdin, stdout, websocket, oauth, jwt, rest api, api, cli, json schema,
openapi, swagger, storybook, goroutine, asyncio, react native, flutter, swiftui, uikit, android studio,
xcode, gemfile, unit-test, e2e test, golang, c++, c#, .net, kotlin, leetcode, sourcemap, source map,
git, gitignore, git hook, pre-commit, commit message, last commit, dataframe, orm, prisma, sqlalchemy,
alembic, cuda kernel, triton kernel, shader, glsl, dockerize, containerize, microservice,
crashloopbackoff, oomkilled, cors, csrf, xss, sql injection, unhandled, localhost, helper function,
jquery, zsh, vimrc, neovim, tmux, zshrc, git blame, bisect, git history, semver, changelog, readme,
docstring, jsdoc, homebrew formula, launchd plist,
多进程, 多线程, 协程, 字符串匹配, 数据加载器, 包管理, 代码块, 工具函数, 交互逻辑, 模态框, 守护进程,
代码审查, 代码评审, 请求头, 命名空间, 内存溢出, 线程池, 连接池, 迭代器, 类型推断, 打包体积, 代码, 报错,
堆栈, 正则, 单元测试, 单测, 集成测试, 测试用例, 重构, 函数, 接口, 脚本, 前端, 后端, 数据库, 内存泄漏,
内存泄露, 死锁, 空指针, 闪退, 类型标注, 类型注解, 环境变量, 循环依赖, 爬虫, 油猴, 命令行工具, 命令行,
合并冲突, 流水线配置, 中间件, 小程序页面, 存储过程, 外键, 组件, 微服务, 反向代理, 反代, 跨域, 编译错误,
编译不过, 编译失败, 类型错误, 源码, 仓库里, 代码库, 变量名, 线程安全, 并发问题, 竞态, 容器化, 单例,
装饰器, 枚举, 注释掉, 补注释, 埋点, 端到端测试, 测试覆盖率, 覆盖率, 回归测试, 慢查询, 主键, 建表,
语法错误, 依赖包, 浏览器插件, 浏览器扩展, 着色器, 提交记录, 提交信息, 提个 pr, 提 pr, 提个pr, 热更新,
构建失败, 编译报错, 编译警告, 类型检查, 静态检查, 守护进程脚本, 死代码, 硬编码, 魔法数字, 数据结构题,
力扣, 刷题代码, 前后端, 单页应用
"""

# Things a program is made of that also have an everyday sense; each needs a companion.
SOFT = """
unused import, unused, unused variable, bash, undefined, nan, stash, await, the build, build fails,
build failure, build error, pytorch, tensorflow, jax, triton, dataloader, error message, android, ios,
desktop app, mobile app, web server, screen reader, settings page, settings screen, login page,
search page, api key, json file, scheduler, controller, router, reducer, serializer, repository class,
adapter, resolver, iterator, proxy, gateway, crawler, scraper, generator, validator, helper, wrapper,
fetcher, formatter, tokenizer, codegen, search bar, search box, text field, textbox, carousel, popup,
menu bar, stylesheet, job queue, data model, dto, etl, breadcrumb, favicon, viewport, safari,
hydration, webview, polyfill, bug, variable, app, website, web page, webpage, button, login, sign-in,
signup, server, database, flag, config, configuration, logging, deployment, error, timeout, cache,
queue, thread, socket, payload, json, csv, xml, yaml, toml, url, cookie, token, auth, authentication,
validation, dropdown, modal, layout, responsive, pagination, constraint, cron, bot, webhook, component,
hook, integer, boolean, null, parser, parsing, timezone, time zone, dst, pr, python, java, perl, php,
scala, kotlin, angular, terminal, command line, plugin, widget, sidebar, navbar, dark mode, tooltip,
checkbox, placeholder, div, 404, 500, 502, 503, 401, 403, rate limit, retry, retries, backoff,
encoding, utf-8, unicode, rounding, lint, warning, dependency, dependencies, lockfile, prometheus,
grafana, dashboard, schema, migration, mock, lambda, s3, generic, enum, struct, firmware, renderer,
exporter, importer, user service, admin panel, spreadsheet formula, google sheet, excel macro,
algorithm, recursion, o(n), latency, localization, i18n, locale, env, venv, virtualenv, subcommand,
parameter, return value, docs build, sphinx, conf, tests, staging, prod,
后台管理, 管理后台, 下载页, 错误码, 日志文件, 表结构, 请求体, 返回值, 入参, 出参, 控制台, 开源项目,
工程里, 项目里, 项目的, 调度器, 处理器, 控制器, 计算器, 生成器, 解析器, 过滤器, 拦截器, 监听器, 渲染器,
验证码, 短信验证, 弹框, 轮播图, 表头, 文档站, 国际化, 右键菜单, 通知栏, 后台任务, 定时任务, 任务队列,
消息队列, 签名校验, 数据表, 用户表, 看板, 仪表盘, 页面, 按钮, 表单, 登录, 登陆, 弹窗, 列表页, 下拉框,
下拉, 字段, 日志, 缓存, 队列, 线程, 请求, 变量, 滚动条, 分页, 权限, 时区, 首页, 后台, 小程序, 网站,
官网, 文件名, 版本号, 索引, 插件, 构建, 仓库, 异步, 递归, 数组, 字符串, 类名, 泛型, 指针, 限流, 重试,
超时, 鉴权, 回调, 域名, 服务器, 服务端, 回滚, 时间复杂度, 暗黑模式, 深色模式, 响应式, 移动端, 安卓,
路由, 导航栏, 侧边栏, 搜索框, 输入框, 复选框, 四舍五入, 告警规则, 网关, 别名, 流水线
"""

# The same with a commoner everyday sense.
FAINT = """
class, code, function, method, package, library, form, page, table, column, field, query, option,
setting, log, test, release, version, exception, trigger, container, string, loop, array, state,
branch, commit, issue, rust, swift, go, ruby, express, spring, react, shell, script, extension, label,
toast, animation, grid, tag, rule, seed, interface, driver, kernel, heap, stack, template, engine,
service, client, role, permission, checkout, cart, feed, formula, complexity, performance, storage,
argument, production, bucket, pointer, float, decimal, session, header, response, request, download,
upload, index, font, handler, worker, factory, bundle, loader, buffer, module, icon, build, deploy,
import, export, sync, merge, todo, fixture, macro, application, node, flask,
字体, 表格, 配置, 布局, 样式, 参数, 证书, 容器, 镜像, 系统, 程序, 软件, 测试, 分支, 提交, 合并, 冲突,
循环, 对象, 属性, 方法, 继承, 模板, 引擎, 动画, 解析, 编码, 异常, 逻辑, 公式, 宏, 部署, 上线, 编译,
打包, 同步, 订单, 支付, 购物车, 图标, 下载, 上传, 导出, 导入, 适配, 多语言, 机器人, 算法, 扩展, 内存,
依赖, 迁移, 加载, 滚动, 精度, 复杂度, 模块, 对齐, 校验, 客户端, 事务, 钩子, 原生, 快捷键, 抽屉, 轮播,
端口, 乱码
"""

# What a coding task hands over: the noun after "write", "build", "make".
ARTEFACT = """
script, function, class, regex, regexp, unit test, test, component, endpoint, kernel, cuda kernel,
triton kernel, plugin, extension, chrome extension, browser extension, module, cli, cli tool,
command line tool, app, web app, webapp, website, landing page, web page, api, rest api, query, sql,
sql query, migration, macro, helper, wrapper, parser, dockerfile, docker compose, docker-compose,
github action, workflow, ci workflow, exporter, microservice, daemon, generator, validator, decorator,
schema, hook, sdk, config, config file, playbook, manifest, shader, crawler, scraper, program, snippet,
algorithm, userscript, bash script, shell script, python script, cron script, cron job, makefile, bot,
discord bot, telegram bot, slack bot, systemd unit, unit file, helm chart, terraform module,
middleware, formula, apps script, implementation, client, server, service, game, page, form, loader,
dataloader, training loop, one-liner, alias, linter, formatter, library, package, dashboard, benchmark,
fixture, stored procedure, tests, cron expression, crontab, healthcheck, health check, launchd plist,
plist, gitignore, vba, bash, codemod, test suite, integration test,
脚本, 函数, 正则, 正则表达式, 单元测试, 单测, 测试, 组件, 接口, 插件, 模块, 小程序, 网站, 网页, 页面,
爬虫, 宏, 程序, 中间件, 扩展, 着色器, 算法, 命令行工具, 工具类, 封装, 装饰器, 钩子, 迁移, 配置,
配置文件, 存储过程, 测试用例, 机器人, 服务, 类, 代码, 油猴, 浏览器插件, 浏览器扩展, 单页应用, 后台,
小工具, 小游戏, 表达式, 公式, 微服务, 训练循环, 解析器, 生成器, 触发器, 流水线
"""

MAKE = """
write, create, build, make, implement, develop, generate, scaffold, prototype, code up, draft, set up,
setup, need a, give me, compose, prepare, design, put together, knock up, whip up, cook up, spin up,
program,
写, 做一个, 做个, 实现, 开发, 搭, 生成, 弄个, 弄一个, 整一个, 来一个, 搞个, 搞一个, 设计, 封装, 编写,
撰写, 起草, 拟, 新建, 建一个, 建个, 补
"""

MEND = """
merge, turn it into, turn this into, edit, tidy, restructure, integrate, install, hide, prevent, wire,
sort, commit, run black, amend, localise, localize, reorganise, reorganize, unify, cap, extend, slim,
trim, shrink, reduce, make this, make our, correct, drop support, look into it, fix it, sort it out,
ensure, guard, wrap, switch, change the, point it, silence, paginate, throttle, debounce, memoize,
vectorize, vectorise, modernize, modernise, fix, patch, repair, debug, resolve, correct it, bump,
upgrade, downgrade, migrate, port, convert, rename, remove, delete, replace, optimise, optimize,
speed up, clean up, cleanup, extract, add, update, change, handle, expose, wire up, hook up, revert,
rewrite, fixing, enable, disable, get rid of, split, parametrize, parametrise, parallelize,
parallelise, tweak, adjust, move, bisect, find the bug, find out why, track down, figure out why,
investigate, lint, type-check, stub, cover, support, parse, catch, implement, validate, sanitize,
escape, strip, swap, inline, deduplicate, dedupe, make it, make the, make sure, let users, allow,
rebase, squash, tag it, configure, dockerize, containerize, refactor, document, annotate, hotfix,
review, simplify, translate this function,
更新, 修改, 修正, 改正, 改好, 完善, 调通, 修好, 去除, 移除, 剔除, 屏蔽, 限制, 拉起, 搭, 写死, 接管,
打通, 提到, 压到, 接一个, 接个, 改用, 换用, 做成, 改为, 调成, 隐藏, 去重, 展开, 缩小, 拆开, 拆, 抽,
适配, 清一下, 查查, 查明, 找出, 找到原因, 对齐, 规范, 放到, 居中, 接上, 做个, 弄, 瘦身, 提速, 提取,
治一下, 救, 修, 改, 换成, 换掉, 替换, 加上, 加个, 加一个, 加, 去掉, 删掉, 删除, 清掉, 优化, 升级, 升到,
迁移, 迁到, 重写, 抽成, 抽出, 抽到, 拆成, 拆分, 合并, 解决, 搞定, 排查, 定位, 查一下, 查下, 配一下,
配置, 实现, 支持, 救我, 解了, 修复, 清理, 移到, 挪到, 重命名, 补上, 补全, 补齐, 补个, 转成, 改成, 改写,
处理, 调一下, 调整, 统一, 封装, 接入, 对接, 回滚, 回退, 提交, 整理成, 加索引, 禁用, 启用, 跑通, 兼容,
看看哪, 看下哪, 哪里写错, 帮看, 增加, 新增, 添加, 校验, 换, 弄好, 审查, 评审, 挑毛病
"""

SYMPTOM = """
does nothing, twice, stops, stopped, ignores, loses, missing, doesn't, isn't, aren't, don't, doesnt,
isnt, jumps, gives up, goes blank, shows, rejects, forgets, ends up, mangles, garbled, truncated,
cuts off, not loading, not showing, not updating, case sensitive, broken, breaks, crash, crashes,
crashing, crashed, fails, failing, failed, throws, throwing, returns 500, returning 500, hangs,
hanging, freezes, times out, timing out, not working, doesn't work, doesnt work, does not work, won't,
wrong, misaligned, returns null, stuck, leaks, keeps, returns, flaky, off by one, too slow, slow,
overlaps, duplicated, duplicate, is empty, one hour late, stale, blank, overflows, flickers, double,
cannot, can't, unable to, two people, instead of, not found,
没有效果, 没效果, 不刷新, 不更新, 不触发, 没触发, 点不了, 显示成, 变成了, 错乱, 对不齐, 拿不到, 取不到,
收不到, 存不上, 存不进, 保存不了, 不执行, 没执行, 丢失, 跑不通, 跑不起来, 起不来, 启动不了, 黑屏, 闪烁,
抖动, 不响应, 不跳转, 被吞, 被截断, 读不到, 写不进, 多算, 少算, 算错, 显示错, 漏了, 不生效, 报错, 挂了,
卡顿, 转圈, 崩溃, 崩了, 闪退, 失败, 乱码, 没反应, 超时, 白屏, 不对, 错位, 老是, 总是, 太慢, 很慢, 变慢,
不显示, 不见了, 丢了, 重复, 没替换, 失效, 不工作, 无效, 报, 抛, 出错, 有问题, 卡死, 溢出, 打不开,
连不上, 死循环, 对不上, 少了, 多了, 点不动, 应该是, 却
"""

# Everyday phrases that hold a word from the tables above and mean something else.
IDIOM = """
wedding toast, toast for, toast to, birthday toast, implement a diet, page of the book, on java island,
the python in the zoo, code red, react badly, spring flowers, hot spring, spring festival,
rust-coloured, driver's license, driving licence, delivery driver, taxi driver, truck driver,
screen time, app store refund, service charge, customer service, room service, church service,
school form, order form, entry form, cover page, web of lies, log cabin, captain's log,
training wheels, test match, cart horse, shopping cart full of, seed packet, sunflower seeds,
rice cooker, one page, one-page, two pages, two page, business trip, cover version, factory outlet,
factory tour, worker rights, control tower, bundle of joy, font of, gym worker, buffer zone,
dog handler, stack of pancakes, form a, in form, out of form, run for office, library hours,
watch battery, watch repair, fix my watch, always on my mind, host a, hosting a, keep fit, keep warm,
keep calm, stay at, stay in, hotel stay, short stay, branch office, bank branch, local branch,
branch manager, tree branch, olive branch, nearest branch, branch location, code of conduct,
dress code, zip code, area code, promo code, discount code, postal code, postcode, country code,
morse code, coupon code, voucher code, building code, cheat code, da vinci code, gate code, door code,
penal code, tax code, bank code, dial code, color code, colour code, code word, function hall,
function room, social function, kidney function, liver function, brain function, executive function,
taylor swift, swift taylor, swift response, ball python, monty python, python snake, pet python,
burmese python, java island, java coffee, java sea, west java, central java, east java, cup of java,
rust on, rust stain, rust remover, rust from, rust belt, shell beach, sea shell, egg shell,
shell company, shell station, gym class, yoga class, first class, business class, class reunion,
class schedule, class trip, class at, pottery class, cooking class, dance class, class president,
spin class, art class, economy class, working class, middle class, train ticket, train station,
train ride, train to, train from, bullet train, night train, train journey, train timetable,
train schedule, train times, train set, train line, train leaves, sleeper train, next train,
last train, first train, by train, the train, a train, model train, training plan, training schedule,
training programme, training program, training session, staff training, sales training,
strength training, weight training, potty training, training course, training material,
training budget, training day, training shoes, potty train, train my dog, train a dog, train my puppy,
train a puppy, train my cat, train for a, train for the, dog training, puppy training,
fire safety training, safety training, onboarding training, render my opinion, render an opinion,
render a verdict, render assistance, render judgment, render aid, test result, blood test,
driving test, pregnancy test, test drive, taste test, math test, maths test, history test,
personality test, eye test, iq test, drug test, covid test, test prep, spelling test,
driving theory test, bug bite, bug spray, bed bug, stomach bug, travel bug, june bug, compile a list,
compile a playlist, compile all the, compile my, compile the guest, marketing plan, relationship,
movie script, play script, film script, speech script, phone script, sales script, call script,
youtube script, podcast script, wedding script, video script, tv script, radio script,
script for a play, script for my, doctor's script, commit to, commit crime, issue of, container ship,
storage container, food container, container garden, plant container, host a party, host a dinner,
host dinner, host family, host country, monitor size, monitor stand, monitor arm,
monitor recommendation, computer monitor, gaming monitor, baby monitor, ultrawide monitor, 4k monitor,
heart rate monitor, blood pressure monitor, second monitor, inch monitor, external monitor,
buy a monitor, apple watch, wrist watch, wristwatch, watch party, smart watch, smartwatch, watch strap,
watch brand, dress watch, watch a movie, watch a film, watch tonight, to watch, binge watch,
watch a show, watch for under, movies to watch, fashion model, role model, business model, car model,
model student, mental model, string quartet, string lights, string cheese, cookie recipe, cookies,
chocolate chip, popcorn kernel, corn kernel, thread count, sewing thread, email thread, twitter thread,
table for, table reservation, book a table, dining table, coffee table, periodic table, table manners,
table tennis, times table, ruby ring, ruby earrings, ruby necklace, ruby wedding, birthday bash,
la scala, go to, go for, go fishing, let's go, go with, go out, to go, go over, go hiking, go through,
go back, react to, spring break, spring cleaning, this spring, spring roll, in spring, next spring,
spring onion, express shipping, express train, hip flask, water flask, pearl, pull string,
application letter, job application, visa application, application form, loan application,
college application, passport application, grant application, school application, sign-up sheet,
tax form, consent form, release form, insurance form, tax return, library card, public library,
library book, local library, the library, holiday package, package holiday, travel package,
lost package, my package, care package, package delivery, delivery package, package arrive, key note,
cloud cover, api beer, debug my, build a shed, build a deck, build a treehouse, build a budget,
build a fence, build muscle, build confidence, deploy a marketing, deploy troops, deploy the team,
port wine, port city, port of, airport, cast iron, root canal, root vegetable, cache of,
fork and knife, pitch fork, salad fork, java trip, trip to java, in java, on java, kernel of truth,
escape room, patch of, eye patch, elbow patch, patch my jeans, patch a hole, patch a tire,
patch the roof, merge lane, merger, tag sale, price tag, name tag, version of, pilot test, test tube,
crash diet, crash course, car crash, stock market crash, market crash, car accident, power station,
server at, waiter, tennis, feed my, feed the, feed the cat, feed a baby, header photo, login bonus,
dress form, pull-up, form of, form letter, state of, united states, in the state, head of state,
state capital, states, index finger, index fund, index card, stock index, page of my, wedding website,
page 3, page turner, front page, class of, world class, stage play, queue at, long queue,
network of friends, class gift, class teacher, class clown, class party, school class, class notes,
exception to, error of judgement, mental state, gas station, loop earring, loop trail, hiking loop,
loop hike, grid power, method acting, scrum cap, rugby, render fat, renders bacon, render plaster,
python bivittatus, clean up the garage, cookie dough, ci fi, sleep schedule, terminal 1, terminal 2,
terminal 3, terminal 4, terminal 5, airport terminal, bus terminal, ferry terminal, session with,
therapy session, jam session, study session, study plan, request for leave, leave request,
feature film, host gift,
表格填写, 表格怎么填, 调查问卷, 值班表, 排班表, 字体推荐, 表白, 多语言家庭, 换季, 改签, 加班, 修车,
修身, 装修, 修手机, 修图, 维修, 换工作, 换乘, 换汇, 蟒蛇, 爪哇, java 岛, java岛, 贝壳, 程序表,
分支机构, 分支行, 开发商, 房地产开发, 开发区, 渲染一下, 渲染气氛, 渲染情绪, 渲染了, 渲染氛围, 渲染悲伤,
渲染得, 渲染手法, 训练计划, 训练营, 训练方法, 健身训练, 力量训练, 训练狗, 训练猫, 口语训练, 体能训练,
训练课, 训练孩子, 专注力训练, 军事训练, 军训, 跑步训练, 训练量, 训练动作, 训练我家, 训练小狗, 训练师,
思维训练, 听力训练, 火车票, 火车, 动车, 高铁, 显示器, 监视器, 便利店, 药店, 24小时营业, 24 小时营业,
24小时热线, 24小时酒店, 24小时健身, 24 小时便利店, 24小时便利店, 24小时书店, 24 小时药店, 24小时自助,
股票代码, 行政代码, 邮政编码, 邮编, 银行代码, 区号, 短视频脚本, 视频脚本, 分镜脚本, 直播脚本, 话术脚本,
拍摄脚本, 剧本, 口播脚本, 带货脚本, 二次函数, 三角函数, 一次函数, 指数函数, 函数图像, 幂函数, 对数函数,
心理测试, 性格测试, 体能测试, 核酸, 测试题, mbti 测试, 智商测试, 体测, 工作部署, 部署会, 重点部署,
合并同类项, 商业模型, 飞机模型, 手办, 高达模型, 汽车模型, 模型玩具, 乐高, 推理小说, 推理剧, 推理电影,
剧本杀, 逻辑推理题, 量化交易, 量化指标, 量化考核, 量化基金, 微调一下语气, 微调一下措辞, 微调措辞,
微调语气, 微调一下文案, 转码农, 转码吗, 转码上岸, 监控摄像头, 监控室, 摄像头推荐, 收纳容器, 玻璃容器,
游戏主机, 汽车引擎, 少儿编程, 编程班, 编程课, 程序员, 提交申请, 提交材料, 提交作业, 冲突管理, 同事冲突,
办事程序, 法律程序, 申请程序, 手续, 诉讼程序, 司法程序, 登录账号, 消化系统, 免疫系统, 免疫力, 太阳系,
教育系统, 安卓手机, 人际冲突, 系统性, 充电接口, type-c 接口, type-c接口, 接口人, hdmi 接口, 接口类型,
依赖症, 情感依赖, 依赖别人, 首页推荐, 文章框架, 论文框架, 编译成一篇, 编译成中文, 编译局, 中央编译,
编译出版, 文件夹颜色, 线程式, 缓存视频, 钩子开头, 钩针, 样式推荐, 装修样式, 布局风水, 家具布局,
客厅布局, 投影仪, 房贷, 插件厂, 方法论, 学习方法, 教育方法, 好方法, 做法, 请求原谅, 支付宝, 微信支付,
订单号, 快递, 订单小票, 对象吵架, 找对象, 相亲对象, 我对象, 处对象, 对象生日, 女朋友, 男朋友, 参数对比,
手机参数, 相机参数, 证书考试, 结婚证, 教师证书, 资格证书, 港口, 端口罩, 精度纬度, 解析几何, 全息解析,
剧情解析, 歌词解析, 诗歌解析, 软件推荐, 网站推荐, 推荐网站, 同步练习, 早教机器人, 扫地机器人,
机器人玩具, 循环赛, 循环经济, 血液循环, 对象感, 动画片, 动画电影, 看动画, 下载电影, 树枝, 苹果手机,
苹果怎么, 函授, 公函, 邀请函, 复函, 商函, 守着老家, 盯着我看, 驾照, 系统复习, 系统学习, 程序正义,
编译短文, 苹果树, 内存卡, 内存条, 生命周期, 下载链接, 字符画, 对象是, 搜索框架, 权限管理员电话,
逻辑不通, 逻辑通顺, 逻辑清晰, 逻辑关系, 逻辑思维, 记忆方法, 测试成绩
"""

# Words of a request for prose, a message or a plan.
PROSE = """
email, e-mail, letter, essay, article, blog post, blog, poem, haiku, speech, summary, report, story,
birthday card, card, plan, itinerary, list, shopping list, to-do list, agenda, announcement, message,
tweet, linkedin post, caption, review, invitation, bio, resume, cv, cover letter, proposal,
press release, newsletter, minutes, slogan, obituary, complaint, thank-you note, thank you note, note,
reply, slides, presentation, deck, talk, quiz, job description, job ad, job posting, faq, one-pager,
pitch, memo, lesson plan, menu, recipe, budget, quote, post, thread, status update, weekly update,
postmortem, release announcement, paragraph, sentence, bullet, explainer, user story, user manual,
meal plan, schedule, lyrics, song, joke, names, name, checklist, packing list, timeline,
table of contents, outline, introduction, abstract, description, product description, bedtime story,
testimonial, apology, eulogy, vows, wishes, greeting, policy, statement, comparison, study plan,
travel plan, booking request, leave request, request letter, ppt, jd,
封信, 写信, 一封, 的信, 首诗, 写诗, 诗歌, 的函, 函件, 稿子, 稿件, 段话, 段文字, 几句话, 一句话, 致辞,
祝词, 短信文案, 消息给, 微信给, 请柬, 检讨书, 推荐信, 辞职信, 情况说明, 观后感, 日记, 论文, 影评, 书评,
散文, 台本, 主持词, 自荐信, 提纲, 备忘, 邮件, 文章, 文案, 作文, 演讲稿, 总结, 报告, 故事, 贺卡, 计划,
清单, 通知, 申请, 请假条, 检讨, 简历, 评语, 推文, 朋友圈, 周报, 日报, 月报, 方案, 发言稿, 祝福, 短文,
公众号, 大纲, 小红书, 介绍, 帖子, 感谢信, 道歉信, 读后感, 心得, 议程, 纪要, 攻略, 菜单, 食谱, 歌词,
对联, 段子, 情书, 自我介绍, 海报文案, 邀请函, 公告, 招聘启事, 启事, 科普文, 博客, 回复, 日程, 行程,
预算, 日程表, 寄语, 悼词, 通知书, 小说, 剧本, 短视频脚本, 视频脚本, 分镜脚本, 直播脚本, 话术脚本,
拍摄脚本, 口播脚本, 带货脚本, 话术, 标题, 简介, 说明, 声明, 摘要, 思维导图, 复盘, 职位描述, 广告语,
口号, 台词, 讲稿, 教案, 合同, 协议, 说明书, 手册, 白皮书, 年终总结
"""

# What only words can answer.
TALK = """
what's the, give me ideas, in one paragraph, who invented, what time, how to, in simple terms,
simple words, eli5, why would, opinion on, thoughts on, is there a, are there, do i need, can i,
does it make sense, which gpu, which graphics, which laptop, which card, what kind, who wrote,
summarise, summarize, summary of, sum up, tl;dr, tldr, translate, translation, proofread, rephrase,
paraphrase, polish, explain, recommend, recommendation, compare, suggest, suggestion, brainstorm,
what is, what's, what are, what does, what do, what was, who is, who was, where is, where can, when is,
how much, how many, how does, how do, how old, how far, how long, should i, which is better,
is it worth, worth buying, difference between, differences between, pros and cons, meaning of,
definition of, tell me about, teach me about, history of, tips for, ideas for, advice, why is, why do,
why are, why does, why did, write an email, draft an email, look up, find me, find a, book a,
remind me to, put on my calendar, add to my calendar, on my calendar, is it safe, can you tell me,
in plain english, in layman's terms, to a child, for a beginner, for beginners, for my boss,
what should, which one, best place, any good, learning, interview question, career, salary, course,
tutorial, books on, book on, give me a summary, meeting notes, read this article, overview of, recap,
打个比方, 怎么办, 是干什么, 是做啥, 哪个牌子, 哪种, 该怎么, 多久, 几点, 有没有必要, 有必要, 一句话说明,
讲个, 聊聊, 你觉得, 有什么, 怎么解释, 比喻, 白话, 给我妈, 给我爸, 给老板解释, 比较一下, 利弊, 优缺点,
什么价, 哪里买, 买哪, 总结, 翻译, 润色, 解释, 推荐, 是什么, 什么是, 什么意思, 啥意思, 区别, 科普, 讲讲,
讲一讲, 介绍一下, 介绍下, 攻略, 哪个好, 哪家, 值得, 多少钱, 在哪, 有哪些, 怎么养, 怎么做, 怎么样,
怎么选, 怎么读, 怎么用, 为什么, 为啥, 是谁, 干嘛的, 做什么的, 有什么用, 有啥用, 有啥区别, 有什么区别,
口碑, 搜搜, 搜一下, 查一查天气, 对比一下, 通俗, 大白话, 听得懂, 要紧吗, 靠谱吗, 该不该, 要不要,
学习路线, 怎么学, 如何学习, 入门书, 书单, 面试题, 岗位, 薪资, 工资, 转行, 前景, 概括, 提炼, 归纳,
改写成口语, 扩写, 摘要, 谁发明, 哪一年, 哪年, 多少分, 教程推荐, 好不好, 能不能吃, 可以吗, 编译成一篇,
编译成中文, 怎么发音, 起个名, 起名, 取名, 怎么回, 高情商
"""

# The errands, goods and feelings of a day; each speaks mildly for `general`.
EVERYDAY = """
restaurant, hotel, flight, wedding, birthday, dinner, lunch, breakfast, recipe, gym, doctor, dentist,
holiday, vacation, trip, marathon, shopping, grocery, groceries, movie, film, concert, song, lyrics,
dog, cat, puppy, kid, kids, mum, mom, dad, grandma, husband, wife, girlfriend, boyfriend, landlord,
rent, garden, kitchen, bike, car, coffee, tea, wine, beach, party, gift, horoscope, weather, school,
homework, teacher, visa, passport, furniture, sofa, desk, shed, shoes, dress, novel, island, club,
snake, pet, bakery, boss, colleague, neighbour, neighbor, customer, meeting, interview, dating, snack,
medicine, pills, tickets, museum,
餐厅, 酒店, 机票, 婚礼, 生日, 晚饭, 午饭, 早餐, 食谱, 健身, 医生, 牙医, 假期, 旅游, 旅行, 半马, 马拉松,
购物, 超市, 电影, 演唱会, 歌, 狗, 猫, 孩子, 女儿, 儿子, 老婆, 老公, 妈, 爸, 奶奶, 房东, 房租, 花园,
厨房, 自行车, 车险, 咖啡, 茶, 红酒, 海边, 聚会, 礼物, 星座, 天气, 学校, 作业, 老师, 签证, 护照, 家具,
沙发, 鞋, 裙子, 小说, 宠物, 老板, 同事, 邻居, 客户, 会议, 面试, 相亲, 零食, 体检, 门票, 博物馆, 景点,
宿舍, 减肥, 楼盘, 装修, 养
"""

# Heavy compute by its own name.
HEAVY = """
colorize, colourise, colorise, colourize, inpaint, outpaint, ai video, ai image, ai art, ai avatar,
ai song, ai cover, clone my voice, clone a voice, clone her voice, clone his voice, animate the photo,
lip sync, lip-sync, distributed training, reward model, grpo, ppo, generate a video, generate video,
generate a clip, re-render, fine-tune, finetune, fine tune, fine-tuning, finetuning, fine tuning,
pretrain, pre-train, pretraining, continued pretraining, transcode, transcoding, re-encode, reencode,
upscale, upscaling, upscaled, super-resolution, super resolution, hyperparameter sweep,
hyperparameter search, grid search over, train a lora, train lora, dreambooth, train a model,
train the model, train a voice, train yolo, train an, resume training, continue training, train it,
voice clone, voice cloning, batch inference, offline inference, image generation, text-to-video,
image-to-video, text to video, video generation, quantize, quantise, distill, distil, rlhf, dpo, sft,
frame interpolation, gaussian splat, gaussian splatting, photogrammetry, nerf, path trace, raytrace,
ray trace, ray-traced, txt2img, img2img, img2vid, deepfake, rotoscope, torchrun, accelerate launch,
deepspeed, monte carlo simulation, protein folding, alphafold, molecular dynamics, cfd simulation,
fluid simulation, fluid sim, bake the, hash cracking, hashcat,
ai 视频, ai视频, ai 绘画, ai绘画, ai 翻唱, ai翻唱, ai 画, 上色修复, 放大修复, 补到, 对口型, 再训一版,
训一版, 训一遍, 训一下, 跑训练, 训起来, 训练起来, 模型训练, 重新训练, 全参, 增量训练, 继续预训练, 消融,
跑推理, 跑评测, 跑分, 微调, 精调, 转码, 超分, 放大到 4k, 放大到4k, 补帧, 插帧, 跑图, 出图, 炼丹,
预训练, 蒸馏, 压制成, 压成 h265, 图生视频, 文生视频, 文生图, 图生图, 声音克隆, 克隆声音, 音色克隆,
克隆我的声音, 音色模型, 批量推理, 离线推理, 开训, 再训, 训一个, 训个, 继续训, 续训, 训到, 训完, 从头训,
训练模型, 训练一个, 训练个, 老片修复, 视频修复, 画质修复, 换脸, 数字人, 全量评测, 高斯泼溅, 三维重建,
分子动力学, 流体仿真, 流体模拟, 光追, 强化学习训练, 超参搜索, 超参, 炼个
"""

# Verbs of compute that need a companion.
COMPUTE = """
train, actually train, retrain, training, render, re-render, rendering, infer, inference, denoise,
transcribe, transcribing, simulate, colorize, colorise, sweep, diffuse, synthesize, synthesise, deblur,
upscale, animate, vectorise, vectorize,
训练, 渲染, 推理, 量化, 评测, 转写, 抠像, 抠图, 去噪, 合成, 压制, 训, 上色, 打标, 烘焙, 拟合, 模拟,
仿真, 升到, 补到, 配音, 听写, 去水印, 降噪, 向量化, 转文字
"""

# Verbs of everything, which say "compute" only beside a machine or much material.
LABOUR = """
embed, encode, encoding, caption, segment, restore, restoring, dub, separate, index, use, using,
work through, put, turn, let, sample, test, try, convert, deblur, crunch, fold, run, eval, evaluate,
benchmark, process, make, create, produce, classify, generate, batch, compute, measure, launch, score,
compress, cook, clone, do, remove, label, go, serve, extract, resume, continue, compare,
修复, 提升到, 拿, 让, 测, 压成, 识别, 数出来, 编码, 扣, 分离, 翻唱, 拼, 升级到, 试, 跑, 生成, 算, 处理,
压缩, 做, 画, 转成, 转, 批量, 放大, 提取, 出, 压, 克隆, 导出, 分类, 重跑, 继续, 用, 打包跑
"""

# Pictures, and the asking for them: together a work for an image or video model.
DEPICT = """
generate, animate, draw me, paint, ai generated, ai-generated, txt2img, text to image, ai,
生成, 画, 出, 跑, 动起来
"""

VISION = """
video, clip, image, picture, photo, portrait, wallpaper, illustration, poster, artwork, avatar,
footage, animation, logo, concept art, sticker, texture,
视频, 图片, 照片, 插画, 海报, 壁纸, 立绘, 头像, 宣传片, 短片, 动漫, 动画, 商品图, 贴图, 写真, 张图,
概念图, 表情包, 片头, 背景图, 产品图
"""

# Machinery and material of heavy compute.
CUDA = """
transformer, wan, mixtral, kling, topaz video, sam, segment anything model, monte carlo,
reinforcement learning, atari, mujoco, int8, fp8, gpu's, word2vec, sentence embeddings,
embedding model, reranker, pytorch, tensorflow, jax, ollama, lm studio, exl2, imagenet, coco dataset,
cifar, mnist, alphafold2, gromacs, openfoam, comfy, sd 1.5, sd1.5, sdxl turbo, pony, upscaler,
loss curve, learning rate, batch size, batch, tensorrt, onnx, kohya, unsloth, axolotl, llama.cpp, mlx,
a6000, 3060, 4060, 4070, 5080, m4 max, demo scene, ray tracing, unreal, lumen, premiere export,
raw footage, sd, gpu, gpus, a100, h100, h200, b200, 4090, 5090, 3090, 4080, 3080, l40s, v100, rtx,
cuda, vram, lora, qlora, sdxl, stable diffusion, stable-diffusion, flux, flux.1, comfyui, blender,
whisper, whisper-large, whisperx, llama, llama-3, qwen, qwen2.5, qwen3, mistral, gemma, deepseek,
phi-3, yolo, yolov8, yolov5, yolo11, unet, u-net, resnet, resnet50, vit, bert, roberta, gpt2, gpt-2,
nanogpt, checkpoint, epoch, epochs, av1, hevc, h265, h.265, x265, nvenc, prores, octane, redshift,
houdini, unreal engine, topaz, esrgan, real-esrgan, realesrgan, so-vits-svc, gpt-sovits, rvc, hunyuan,
hunyuanvideo, wan2.1, wan2.2, wan 2.2, animatediff, svd, cogvideox, mochi, ltx, controlnet,
diffusion model, diffusion, vllm, gptq, awq, gguf, bf16, fp16, int4, 4bit, 4-bit, mmlu, gsm8k,
humaneval, perplexity, val loss, eval loss, hyperparameter, hyperparameters, embeddings, embedding,
bge-m3, bge, e5-large, e5, clip embedding, davinci, c4d, cinema 4d, maya scene, arnold, v-ray, vray,
keyframe, keyframes, cycles, turntable, deep learning, neural network, language model, llm, 7b, 8b,
13b, 14b, 32b, 70b, 72b, xgboost, classifier, dataset, demucs, musicgen, bark, tts, xtts, f5-tts,
sovits, rife, segment anything, sam2, dlss, good card, big card, graphics card, the cards, one card,
on the card, both cards, hyper parameters, spp, samples per pixel, mp4, mkv, 4k, 8k, 60fps,
强化学习, 特征向量, 小语言模型, 语言模型, 视觉模型, 扩散, 宣传片, 光照贴图, 步数, 人声分离, 关键帧,
卷积, 验证集, 训练集, 测试集, 检查点, 梯度, 收敛, 底模, 基座, 开源模型, 4 卡, 张显卡, 块显卡, 口播视频,
显卡编码, 硬编, 帧率, 显卡, 显存, 大模型, 数据集, 扩散模型, 神经网络, 单卡, 多卡, 双卡, 8卡, 8 卡, 4卡,
两张卡, 卡上, 算力, 向量化, 数据增强, 工程文件, 语音模型, 声音模型, 检测模型, 分类模型, 分类器, 混元,
通义万相, 可灵, 采样, 达芬奇, 全景图, 效果图, 学习率, 轮, 点云, 建模场景, 光线追踪, 音色, 语音合成,
分辨率, 权重
"""

RIG = """
corpus, steps, vocals, songs, reviews, tweets, tickets, lecture recording, trailer, turntable, network,
neural, raw photos, blu-ray, dvd, rips, tapes, vhs, shots, renders, faces, tokens, video, videos, clip,
footage, film, image, images, picture, pictures, photo, photos, frames, frame, scene, animation, audio,
recording, recordings, podcast, podcasts, model, data, documents, hours of, gb, tb, terabyte, lecture,
lectures, episodes, movie, album, library, archive, speech, song, voice, wallpaper, poster, avatar,
1080p, hdr, slow motion, portrait, product photo, artwork, illustrations, texture, textures, logo,
samples, rows, items, sentences, voices, weights,
老剧, 宣传片, 网络, 客服对话, 步, 老照片, 旧照片, 老视频, 字幕, 人声, 歌, 采访, 片段, 镜头, 监控录像,
素材库, 原片, 动漫, 视频, 素材, 影片, 片子, 图片, 照片, 图, 帧, 场景, 动画, 音频, 录音, 播客, 模型,
数据, 文档, 万条, 万张, 小时的, 集, 剧集, 老电影, 海报, 头像, 壁纸, 插画, 立绘, 贴图, 语料, 商品图,
张图, 声音, 画面, 录像, 电影, 评论, 课程录屏, 样片, 短片, 样本
"""

# A standing duty by its own name.
STANDING = """
never goes down, never dies, never goes offline, carry on, never stop, never stops,
without interruption, not miss a single, don't miss any, uninterruptedly, live on, watch for,
keep serving, keep hosting, keep syncing, keep collecting, keep recording, keep scraping,
keep refreshing, keep posting, keep me posted, keep me updated, keep an ear, babysit, day or night,
every day of the year, 365 days, all hours, as long as it takes, ongoing, long-running, long running,
from now on, keep following, 24h, 24 hours a day, 24/7, 24x7, 24*7, 7x24, 7*24, 24-7, around the clock,
round the clock, nonstop, non stop, non-stop, always on, always-on, permanently, indefinitely,
day and night, keep an eye on, keep an eye out, keep watch, keep tabs on, keep polling, keep checking,
keep monitoring, keep watching, keep listening, keep tracking, keep scanning, keep trying,
keep answering, keep replying, at all times, be on call, stand guard, on standby, continuously,
constantly, in perpetuity, forever, unattended, watch over, never sleep, never go down,
must not go down, must never, uninterrupted, all night long, stay awake, be available at any,
any time of day, whatever the hour, at any hour, at 3am, in the background all, without a break,
until i say stop, until i tell you to stop, until further notice, live all the time, look out for,
be on the lookout, on the lookout, stay on top of,
整个晚上, 一晚上, 不许掉, 不能下线, 别下线, 挂个, 一直别, 24 小时客服, 24小时客服, 24 小时都, 24小时都,
24 小时有, 24小时有, 盯到, 盯牢, 盯好, 紧盯, 看紧, 看牢, 看住, 守到, 守好, 守护, 帮我守, 帮我看着,
帮忙看着, 看着点, 从现在起, 从今天起, 以后每, 今后, 一直提醒, 一直到, 一直发, 一直查, 一直抓, 一直回,
一直接, 一直能, 一直活着, 一直有, 不间歇, 实时推送, 实时提醒, 时刻, 不要停, 不能掉, 不许断, 后台跑着,
后台一直, 待命, 长久, 永久, 托管起来, 每时每刻, 7×24, 全天候, 不间断, 不停机, 不掉线, 别掉线, 常驻,
挂着, 挂机, 挂在后台, 守着, 守住, 守候, 盯着, 盯紧, 帮我盯, 盯盘, 盯一下, 盯住, 盯梢, 蹲着, 蹲一下,
帮我蹲, 蹲个, 蹲到, 一直在线, 一直开着, 一直运行, 一直跑, 一直做, 一直监, 一直看, 一直盯, 一直挂,
保持在线, 保持运行, 永远在线, 永久在线, 长期运行, 长期在线, 长期的, 长期监, 长期盯, 随时在线, 随时能,
随时可以, 随时待命, 随时响应, 时刻关注, 时刻盯, 实时盯, 实时监控, 实时监测, 持续监控, 持续监测,
持续关注, 持续跟踪, 持续运行, 持续盯, 值守, 值班, 无人值守, 留意着, 别断, 不能断, 不要断, 不能停, 别停,
不许停, 24小时在线, 24 小时在线, 24小时不, 24 小时不, 全年无休, 昼夜, 日夜, 通宵, 整夜, 半夜也, 一整夜,
整晚, 自动值, 长年, 一刻不停, 彻夜, 永不, 24 小时盯, 24小时盯, 24小时监, 24 小时监, 24小时运行,
24 小时运行, 一年四季, 保活, 跟着, 持续到, 守一, 巡检, 轮询, 站岗, 常年, 长期
"""

WATCH = """
automatically, carry on, auto-reply, autoreply, renew, proxy, append, store messages, take care of,
handle incoming, serve, guard, supervise, restart it, keep going, relay, mirror, look after, check on,
check if, check whether, check for, see if, visit, look for, monitor, watch, track, poll, polling,
tail, tailing, listen, listening, check, checking, follow, scan, watching, monitoring, tracking,
following, observe, ping, look at, refresh, online, host, hosting, uptime, available, reachable,
running, alert, alerts, alarm, watchdog, answer, reply, respond, moderate, moderation, back up, backup,
sync, scrape, crawl, collect, record, archive, log, post, fetch, water, trade, self-host,
自动, 有人回, 代理, 下线, 掉线, 看家, 打理, 应付, 续费, 续期, 收到, 继续跑, 继续运行, 照常, 接着跑,
转发, 看着, 看看有没有, 看有没有, 查有没有, 回消息, 接待, 接单, 接电话, 看盘, 刷, 抢票, 监督, 看门,
继续, 抓, 爬, 查, 拉取, 拉一次, 拉一下, 监控, 监听, 监测, 关注, 留意, 跟踪, 追踪, 盯, 守, 看一次,
看一眼, 看一下, 看看, 查一次, 查一遍, 查一下, 检查, 检测, 刷新, 刷一次, 刷一下, 抓取, 抓一次, 爬一次,
在线, 待命, 自动回复, 自动回, 应答, 托管, 备份, 同步, 告警, 预警, 心跳, 续上, 重启, 接住, 汇报, 跟进,
巡, 记录, 播报, 自动发, 签到, 打卡, 抢, 采集, 推送, 运行, 答复, 值, 蹲, 群里
"""

DELIVER = """
renew, pull, append, run this, run my, run the, run it, execute, send the, send my, send a, email the,
report, collect, restart, back up, backup, upload, download, sync, ask me, quiz me, send me, email me,
mail me, message me, text me, post, give me, brief me, digest, report to me, remind, reminder, ping,
dm me, slack me, wechat me, push me, summarise, summarize, summary, update me, post it, forward me,
deliver, send, tweet, publish, greet, wake me,
提醒我, 打电话, 爬, 存到, 存表, 交, 量, 吃药, 报, 跑一次, 跑一遍, 执行, 转发, 备份, 抓, 汇总, 同步,
拉取, 检查, 生成, 发布, 清理, 更新, 收集, 统计, 打卡, 签到, 监测, 看看, 问我, 问候, 陪我, 发我, 发给我,
给我发, 推给我, 推送, 提醒, 汇报, 报给我, 发到, 发一份, 发个, 发一条, 整理, 摘要, 简报, 播报, 叫我起床,
给我推, 群发, 喊, 叫, 抄送, 发群里, 发邮件
"""

CHANGE = """
published, publish, announced, announce, posted, updated, update, ready, offline, down, smoke, freezes,
frees up, wins, scores, go on sale, goes under, goes over, goes above, goes below, go under, under 100,
comes out, come out, released, release, replies, reply, lands, arrives, starts, ends, fails, dies,
back up, gets cheaper, mentions, mentioned, listing, listed, rises, climbs, expires, new version,
new one, new email, drops, drop, falls, changes, change, opens, open up, opens up, opening,
back in stock, in stock, restock, restocks, restocked, available, goes down, go down, goes live,
goes on sale, on sale, sells, signs, spike, spikes, below, above, exceeds, crosses, coming, new,
appears, shows up, posts, releases, uploads, breaks, cheaper, slot, free up, cancellation, under $,
down to, hits, moves, turns, frost, anything happens, outage,
异动, 一更新, 留言, 快过期, 报错, 状态, 涨, 跌, 到货, 上线, 下架, 开抢, 开放, 新版本, 新邮件, 新帖,
新房源, 新品, 新一集, 更新了, 开票, 出票, 退票, 捡漏, 回复了, 出来, 掉了, 断了, 新的, 合适的, 过期,
到期, 开门, 重启, 变化, 变动, 更新, 降到, 降价, 跌破, 涨到, 跌到, 低于, 高于, 超过, 有货, 补货, 放号,
放票, 开售, 上新, 上架, 有票, 挂了, 宕机, 掉线, 异常, 不通, 出现, 有人, 新消息, 开播, 发布, 空位, 余票,
名额, 回调, 放出, 突破, 跌幅, 涨幅, 动静, 有新
"""

HANDS_OFF = """
don't touch the code, dont touch the code, without changing the code, no code changes,
don't change the code, do not change the code, don't edit the code, just run, as is, as-is,
code is ready, code is done, the code already works, leave the code alone, actually train,
actually run, no coding, script is ready, script already,
代码不用改, 不用改代码, 别改代码, 别动代码, 代码别动, 代码不动, 不改代码, 代码都写好了, 代码写好了,
代码是现成的, 代码现成, 脚本现成, 现成的脚本, 脚本已经写好, 脚本都有了, 只管跑, 直接跑, 直接开训,
直接开跑
"""

CODE_ONLY = """
don't run it, do not run it, dont run it, don't start it, don't execute, do not execute, don't train,
do not train, don't actually run, only the script, just the script, just the code, only the code,
code only, no need to run, i'll run it myself, i will run it, i'll run it, not run it,
small shapes only, mock-free, without running,
先别跑, 不用跑, 不要跑, 别跑, 不用执行, 先不执行, 别执行, 只要代码, 只写代码, 只要脚本, 只写脚本,
脚本写好, 写好放, 我自己跑, 自己会跑, 我来跑, 不用真, 不要真, 不用训练, 先不训, 不用运行, 先不跑,
逻辑别动, 不用部署, 放仓库, 放到仓库, 代码给我, 提个 pr, 提 pr
"""

LOCAL = """
locally, on my mac, on my machine, on my laptop, on my computer, on my own machine, on this machine,
on this mac, on the mac mini, on-device, on device, offline, localhost, on my pc, on the local machine,
local machine,
本地, 本机, 我的电脑上, 我电脑上, 在我电脑, 这台机器, 这台电脑, 这台 mac, 离线, 我的 mac, 我的mac,
这台mac
"""

TABLES = {
    "code": CODE,
    "soft": SOFT,
    "faint": FAINT,
    "artefact": ARTEFACT,
    "make": MAKE,
    "mend": MEND,
    "symptom": SYMPTOM,
    "idiom": IDIOM,
    "prose": PROSE,
    "talk": TALK,
    "everyday": EVERYDAY,
    "heavy": HEAVY,
    "compute": COMPUTE,
    "labour": LABOUR,
    "depict": DEPICT,
    "vision": VISION,
    "cuda": CUDA,
    "rig": RIG,
    "standing": STANDING,
    "watch": WATCH,
    "deliver": DELIVER,
    "change": CHANGE,
    "hands_off": HANDS_OFF,
    "code_only": CODE_ONLY,
    "local": LOCAL,
}

# Traditional characters of the tables, and at the same place below each its simplified form.
TRADITIONAL = (
    "幫寫腳個這麼為報錯碼數據庫測試檔頁鈕單點擊開關機電腦網絡著監聽時間鐘週價變話訊號發給訴訓練轉視頻圖顯"
    "雲優選項專後裡裏們來對會議記錄總結譯說請問題應該導匯處實現構類別組態環參調執務還沒過讓從將與無動檢隨"
    "線斷續達標準畫質節買賣產業師員學習書讀語詞詩強滿營級衝塊條樣樹鏈鍵鎖陣隊雙難預領風飛馬驗齊龍遠適邏輯"
    "輸載補訂計設許評註證識誤護離館髮觸觀覽規範約紅細終緩緒繪維職聯裝複親貼費資帳購軟輕辦運遞鄰銀錢門閉閃"
    "閱陸險雖靜頭額飯駕體齡佈併僅億儘冊決減製雜階權歷曆壓縮編瀏幀摳臺灣劇萬場驟聲漢簡"
)
SIMPLIFIED = (
    "帮写脚个这么为报错码数据库测试档页钮单点击开关机电脑网络着监听时间钟周价变话讯号发给诉训练转视频图显"
    "云优选项专后里里们来对会议记录总结译说请问题应该导汇处实现构类别组态环参调执务还没过让从将与无动检随"
    "线断续达标准画质节买卖产业师员学习书读语词诗强满营级冲块条样树链键锁阵队双难预领风飞马验齐龙远适逻辑"
    "输载补订计设许评注证识误护离馆发触观览规范约红细终缓绪绘维职联装复亲贴费资账购软轻办运递邻银钱门闭闪"
    "阅陆险虽静头额饭驾体龄布并仅亿尽册决减制杂阶权历历压缩编浏帧抠台湾剧万场骤声汉简"
)
